// Ask the server, or the data that a frozen page holds.

const held = document.getElementById("frozen");
export const frozen = held ? JSON.parse(held.textContent) : null;
const token = new URLSearchParams(location.search).get("token") ?? "";
const HEADER = "X-Raytune-Token";

/** The answer to a question about the runs. */
export async function ask(path, parameters = {}) {
  if (frozen) return fromFrozen(path, parameters);
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(`/api/${path}?${query}`, { headers: { [HEADER]: token } });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

/** Send an order to a run; the answer is {accepted, reason}. */
export async function order(run, content) {
  const response = await fetch(`/api/order?run=${run}`, {
    method: "POST",
    headers: { [HEADER]: token, "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });
  const answer = await response.json();
  return answer.error ? { accepted: false, reason: answer.error } : answer;
}

function fromFrozen(path, { run = 0, metric = "", trial = "" }) {
  const answers = {
    state: () => ({ runs: frozen.runs, read_only: true }),
    curves: () => curvesIn(frozen.curves[run], metric),
    importance: () => frozen.importance[run],
    reader: () => frozen.reader[run],
    log: () => ({ log: frozen.logs[run][trial] ?? "" }),
  };
  const answer = answers[path]();
  if (answer?.error) throw new Error(answer.error);
  return answer;
}

/** The curves of a metric, each with the times that all metrics of its trial share. */
function curvesIn({ times, values }, metric) {
  return Object.fromEntries(Object.entries(values[metric] ?? {}).map(([name, value]) => [name, { ...times[name], value }]));
}

/** Whether the curves of a metric are there; a frozen page of a large run has only those that rank. */
export const hasCurves = (metric) => !frozen || frozen.curves.some(({ values }) => metric in values);
