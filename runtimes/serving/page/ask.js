// The dialog that asks for the server's token. The tab keeps it until it is closed.

import { by } from "./elements.js";
import { token } from "./api.js";

// Resolves once a token has been given; it is asked for again if it was wrong.
export function askToken(message, wrong) {
  const dialog = by("ask");
  if (wrong) {
    token.forget();
    by("ask-why").textContent = `That token is not the server's: ${message}`;
  }
  return new Promise((resolve) => {
    const given = (event) => {
      event.preventDefault();
      by("ask-form").removeEventListener("submit", given);
      token.set(by("token").value.trim());
      by("token").value = "";
      dialog.close();
      resolve();
    };
    by("ask-form").addEventListener("submit", given);
    if (!dialog.open) dialog.showModal();
    by("token").focus();
  });
}
