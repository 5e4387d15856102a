import torch

from raytune_ocr.data import DatasetRegistry
from tests.fixtures.labelled import animals


def test_transforms_stay_until_they_are_reapplied_and_depend_on_the_epoch(tmp_path):
    def images(dataset, epoch=None):
        train, val = dataset.get_dataloaders(batch_size=27)
        if epoch is not None:
            dataset.reapply_transforms(epoch)
        held_out = next(iter(val))[0]
        return next(iter(train))[0], held_out

    folder = animals(tmp_path)
    make = lambda: DatasetRegistry.create("image_folder", path=folder, augmentation=True)  # noqa: E731
    plain, plain_val = images(DatasetRegistry.create("image_folder", path=folder))
    once, val = images(make())
    again, _ = images(make(), epoch=0)
    later, _ = images(make(), epoch=3)
    assert not torch.equal(once, plain)
    assert torch.equal(val, plain_val)
    assert torch.equal(once, again)
    assert not torch.equal(once, later)
