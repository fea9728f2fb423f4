/** Making elements. Text goes in as text, never as markup. */

type Child = Node | string;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function byId(id: string): HTMLElement {
  return document.getElementById(id)!;
}

/** A mark in a category's colour. */
export function dot(colour: string, dashed = false): HTMLElement {
  const made = el('span', { class: dashed ? 'dot dashed' : 'dot' });
  made.style.setProperty('--dot', `var(--${colour})`);
  return made;
}
