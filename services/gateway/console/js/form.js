/** @file Forms: fields with labels, what is wrong beside its field, one sending at a time. */

import { h, fill } from "./dom.js";
import { announce } from "./announce.js";
import { ProblemError, fieldOf, sentenceOf } from "./problems.js";

let count = 0;

/**
 * A field with its label, its hint, and room for what is wrong with it.
 * @param {{name: string, label: string, hint?: string|Node, control?: HTMLElement} & Record<string, any>} options Others are
 *   attributes of the input.
 */
export function field({ name, label, hint, control, ...attributes }) {
  const id = `field-${++count}`;
  const input = control ?? h("input", { type: "text", ...attributes });
  input.id = id;
  input.setAttribute("name", name);
  const described = [hint && `${id}-hint`, `${id}-wrong`].filter(Boolean).join(" ");
  input.setAttribute("aria-describedby", described);
  return h("div", { class: "field", "data-field": name },
    h("label", { for: id }, label),
    input,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    h("p", { class: "wrong", id: `${id}-wrong`, hidden: true }));
}

/** @param {[string, string][]} options Values and labels. @param {string} [chosen] */
export function select(options, chosen) {
  return h("select", {}, options.map(([value, label]) => h("option", { value, selected: value === chosen }, label)));
}

/** Something is wrong with one field, and the page sees it by itself. */
export class FieldError extends Error {
  /** @param {string} name @param {string} message */
  constructor(name, message) {
    super(message);
    this.field = name;
  }
}

/**
 * A form.
 * @param {{children: any[], submit: string, act: (values: Record<string, string>, form: HTMLFormElement) => Promise<void>, label?: string, plain?: boolean, kind?: string}} options
 *   `act` gets what was typed; what it throws is shown.
 * @returns {HTMLFormElement}
 */
export function form({ children, submit, act, label, plain = false, kind = "stack" }) {
  const button = h("button", { class: `button${plain ? " plain" : ""}`, type: "submit" }, submit);
  const problem = h("div", { role: "alert" });
  const element = /** @type {HTMLFormElement} */ (h("form", { class: kind, novalidate: true, "aria-label": label }, ...children, problem, h("div", {}, button)));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy") === "true") return;
    clear(element, problem);
    button.setAttribute("aria-busy", "true");
    try {
      await act(valuesOf(element), element);
    } catch (error) {
      show(element, problem, error);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return element;
}

/** A message about something that went wrong. @param {unknown} error @param {() => void} [retry] */
export function problemNotice(error, retry) {
  if (!(error instanceof ProblemError)) console.error(error);
  return h("div", { class: "notice bad" },
    h("p", {}, sentenceOf(error), error instanceof ProblemError ? [" ", h("code", {}, error.reason)] : null),
    retry && h("button", { class: "button plain small-button", type: "button", on: { click: retry } }, "Try again"));
}

/**
 * A button that does something once at a time and shows what went wrong below `place`.
 * @param {{label: string, act: () => Promise<void>, problems: HTMLElement, kind?: string}} options
 */
export function actionButton({ label, act, problems, kind = "" }) {
  const button = h("button", { class: `button ${kind}`, type: "button" }, label);
  const press = async () => {
    if (button.getAttribute("aria-busy") === "true") return;
    fill(problems);
    button.setAttribute("aria-busy", "true");
    try {
      await act();
    } catch (error) {
      fill(problems, problemNotice(error, press));
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
  button.addEventListener("click", press);
  return button;
}

function valuesOf(element) {
  const isSecret = (name) => element.elements.namedItem(name)?.type === "password"; // spaces belong to it
  return Object.fromEntries([...new FormData(element)].map(([name, value]) => [name, isSecret(name) ? String(value) : String(value).trim()]));
}

function clear(element, problem) {
  fill(problem);
  for (const input of element.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const wrong of element.querySelectorAll(".wrong")) /** @type {HTMLElement} */ (wrong).hidden = true;
}

function show(element, problem, error) {
  const name = error instanceof FieldError ? error.field : fieldOf(error);
  const place = name === null ? null : element.querySelector(`[data-field="${CSS.escape(name)}"]`);
  if (place === null) {
    fill(problem, problemNotice(error));
    return;
  }
  const text = error instanceof FieldError ? error.message : sentenceOf(error);
  const input = /** @type {HTMLElement} */ (place.querySelector("input, select"));
  const wrong = /** @type {HTMLElement} */ (place.querySelector(".wrong"));
  wrong.textContent = text;
  wrong.hidden = false;
  input.setAttribute("aria-invalid", "true");
  input.focus();
  announce(text);
}
