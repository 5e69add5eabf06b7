// Tell the server what an answer should have been: it counts in the metric of what is served.

import { by, element, show } from "./elements.js";
import { call, modelPath } from "./api.js";
import { classes } from "./answer.js";

// Offered where there is one output of classes, and a monitor that counts.
export function feedbackForm(monitored) {
  let about = null;

  function offer(id, answer, asked) {
    const output = answer.outputs.length === 1 ? answer.outputs[0] : null;
    const fits = output !== null && asked.has(output.name) && monitored() !== null;
    show(by("feedback"), fits);
    if (!fits) return;
    const found = classes(output);
    const ordered = [...found].sort((a, b) => a.index - b.index);
    by("label").replaceChildren(...ordered.map(({ index, label }) => element("option", { value: index }, label)));
    by("label").value = String(found[0].index);
    by("feedback-said").textContent = "";
    about = { id, model: { name: answer.model_name, version: answer.model_version } };
  }

  function hide() {
    show(by("feedback"), false);
    about = null;
  }

  by("feedback").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (about === null) return;
    const body = JSON.stringify({ id: about.id, label: Number(by("label").value) });
    try {
      const { found } = await call(`${modelPath(about.model)}/feedback`, { method: "POST", body });
      by("feedback-said").textContent = found.accepted ? "Thank you: it counts." : "The server did not look at this request.";
    } catch (error) {
      by("feedback-said").textContent = error.message;
    }
  });

  return { offer, hide };
}
