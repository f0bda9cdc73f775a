// Operators' orders: another state for a server, with its reason and for how long. The token stays
// with this page and is written nowhere: it is forgotten when that is closed or loaded anew.

import { el, say, show } from "./dom.js";

let kept = "";
const STATES = {
  ready: "used as soon as it is fit",
  drain: "gets nothing new",
  maint: "is out of service",
};

/// The form of one server.
export function orderForm(name) {
  const token = el("input", { type: "password", name: "token", autocomplete: "off", value: kept });
  const reason = el("input", { type: "text", name: "reason", maxlength: "200", autocomplete: "off", placeholder: "kernel update" });
  const patience = el("input", { type: "text", name: "for", size: "6", autocomplete: "off", placeholder: "30m", "aria-describedby": "for-hint" });
  const states = Object.entries(STATES).map(([state, meaning]) => el("label", { class: "state" },
    el("input", { type: "radio", name: "state", value: state, checked: state === "drain" }), el("b", { text: state }), el("span", { text: meaning })));
  const send = el("button", { type: "submit", class: "send", text: "Give the order" });
  const answer = el("p", { class: "answer", role: "alert", hidden: true });
  const tell = (kind, text) => {
    answer.className = `answer ${kind}`;
    say(answer, text);
    show(answer, true);
  };
  const submit = async (event) => {
    event.preventDefault();
    const state = form.elements.state.value;
    const wish = { state };
    if (reason.value.trim()) wish.reason = reason.value.trim();
    if (patience.value.trim() && state !== "ready") wish.for = patience.value.trim();
    send.disabled = true;
    try {
      const said = await give(name, wish, token.value.trim());
      kept = token.value.trim();
      tell(said.warning ? "warn" : "done", said.warning ?? `${said.name} is ${said.admin}${said.until ? ` until ${new Date(said.until).toLocaleString()}` : ""}.`);
    } catch (error) {
      tell("refused", `Refused: ${error.message}`);
      if (error.status === 401) {
        // A wrong one is not kept.
        kept = "";
        token.focus();
        token.select();
      }
    } finally {
      send.disabled = false;
    }
  };
  const form = el("form", { class: "order", on: { submit } },
    el("fieldset", {}, el("legend", { text: "State" }), states),
    el("label", {}, "Reason ", reason),
    el("label", {}, "For ", patience, el("small", { id: "for-hint", text: "90s, 30m, 2h; empty: until told otherwise" })),
    el("label", {}, "Token ", token, el("small", { text: "of token_file; kept by this page alone" })),
    send, answer);
  return el("details", { class: "orders" }, el("summary", { text: "Set its state" }), form);
}

async function give(name, wish, token) {
  const answer = await fetch(`/api/v1/backends/${encodeURIComponent(name)}/state`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(wish),
    signal: AbortSignal.timeout(10e3),
  }).catch(() => {
    throw new Error("the agent does not answer");
  });
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const error = new Error(said.detail ?? `the agent answered ${answer.status}`);
  error.status = answer.status;
  throw error;
}
