type Child = Node | string | number | undefined | false;

/** Properties of an element; `data`, `aria` and `style` by their own names, `on` for events. */
interface Properties {
  class?: string;
  id?: string;
  /** Any other attribute; undefined leaves it out. */
  attributes?: Record<string, string | number | undefined>;
  /** Custom properties and styles. */
  style?: Record<string, string>;
  on?: Record<string, (event: Event) => void>;
}

/** Makes an element. Text becomes text nodes: whatever it holds, it is shown and never run. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  apply(element, properties);
  append(element, children);
  return element;
}

/** Makes an SVG element. */
export function svg<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  properties: Properties = {},
  ...children: Child[]
): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  apply(element, properties);
  append(element, children);
  return element;
}

/** The element with this id, or an error that names it. */
export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element) return element;
  throw new Error(`no element #${id}`);
}

/** Frames without a move after which a place counts as reached, and frames in all. */
const [STILL, FRAMES] = [8, 90];

/**
 * Scrolls to an element and focuses it. Cards that are drawn on the way have other heights than were kept
 * for them, so it looks again until the element stays where it is.
 */
export function bring(element: HTMLElement, block: ScrollLogicalPosition): void {
  let still = 0;
  let frames = 0;
  const look = (): void => {
    const before = element.getBoundingClientRect().top;
    element.scrollIntoView({ block, behavior: 'instant' });
    still = Math.abs(element.getBoundingClientRect().top - before) < 1 ? still + 1 : 0;
    if (still < STILL && ++frames < FRAMES) requestAnimationFrame(look);
  };
  look();
  element.focus({ preventScroll: true });
}

/** The data that the page carries. */
export function pageData(): unknown {
  return JSON.parse(byId('data').textContent);
}

function apply(element: HTMLElement | SVGElement, properties: Properties): void {
  const { class: name, id, attributes = {}, style = {}, on = {} } = properties;
  if (name !== undefined) element.setAttribute('class', name);
  if (id !== undefined) element.id = id;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(key, String(value));
  }
  for (const [key, value] of Object.entries(style)) element.style.setProperty(key, value);
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child === undefined || child === false) continue;
    element.append(typeof child === 'number' ? String(child) : child);
  }
}
