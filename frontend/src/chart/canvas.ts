// A canvas that is drawn at once when something changed, so that it is on the screen with the next frame; and the pointer over it.

import type { Area, Pen } from "./pen";

export interface Painting {
  width: number;
  height: number;
  /** Where the pointer means something. */
  area: Area;
  paint: (pen: Pen) => void;
}

/** Positions are in pixels from the left and the top of the area. */
export interface Listeners {
  /** A range was drawn with the pointer. */
  onSelect?: (from: number, to: number) => void;
  /** Dragged sideways with Shift, by so many pixels since the last call. */
  onPan?: (by: number) => void;
  onReset?: () => void;
  onClick?: (x: number, y: number) => void;
  /** Null where the pointer has left. */
  onHover?: (x: number | null, y: number) => void;
}

export interface Chart {
  show(next: Painting): void;
  destroy(): void;
}

/** Pixels that a finger or a shaky hand may move without meaning to zoom. */
const DRAG = 6;

function add<K extends "canvas" | "div">(host: Element, name: K, kind: string): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  element.className = kind;
  host.append(element);
  return element;
}

function place(element: HTMLElement, { left, top, width, height }: Area): void {
  Object.assign(element.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
}

function watchPointer(over: HTMLElement, listeners: () => Listeners): void {
  const cursor = add(over, "div", "cursor");
  const select = add(over, "div", "brush");
  let start: number | null = null;
  let last = 0;
  let box = over.getBoundingClientRect();
  const show = (from: number, to: number): void => place(select, { left: Math.min(from, to), top: 0, width: Math.abs(to - from), height: box.height });
  const at = (event: PointerEvent): number => Math.max(0, Math.min(box.width, event.clientX - box.left));
  over.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    box = over.getBoundingClientRect();
    start = last = at(event);
    over.setPointerCapture(event.pointerId);
  });
  over.addEventListener("pointermove", (event) => {
    if (start === null) box = over.getBoundingClientRect();
    const x = at(event);
    cursor.style.transform = `translateX(${x}px)`;
    if (start === null) listeners().onHover?.(x, event.clientY - box.top);
    else if (event.shiftKey) listeners().onPan?.(x - last);
    else if (listeners().onSelect && Math.abs(x - start) >= DRAG) show(start, x);
    last = x;
  });
  over.addEventListener("pointerup", (event) => {
    const [from, to] = [start ?? 0, at(event)];
    const dragged = start !== null && select.style.width !== "" && select.style.width !== "0px";
    if (start !== null && !dragged && Math.abs(to - from) < DRAG) listeners().onClick?.(to, event.clientY - box.top);
    start = null;
    show(0, 0);
    if (dragged && Math.abs(to - from) >= DRAG) listeners().onSelect?.(Math.min(from, to), Math.max(from, to));
  });
  over.addEventListener("pointercancel", () => {
    start = null;
    show(0, 0);
  });
  over.addEventListener("pointerleave", () => listeners().onHover?.(null, 0));
  over.addEventListener("dblclick", () => listeners().onReset?.());
}

const shownOn = new WeakMap<HTMLCanvasElement, () => Painting>();

/** What is drawn on a canvas of ours, to draw it again elsewhere; undefined on any other. */
export function paintingOf(canvas: HTMLCanvasElement): Painting | undefined {
  return shownOn.get(canvas)?.();
}

/** `listeners` is asked at each event, so that what they know is never old. */
export function createChart(host: HTMLElement, first: Painting, listeners: () => Listeners): Chart {
  const canvas = add(host, "canvas", "");
  const over = add(host, "div", "over");
  const pen = canvas.getContext("2d");
  let shown = first;
  const draw = (): void => {
    if (pen === null) return;
    const ratio = window.devicePixelRatio;
    const [wide, high] = [Math.round(shown.width * ratio), Math.round(shown.height * ratio)];
    // Setting a size clears the canvas and gives its memory back, also where it is the same.
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, shown.width, shown.height);
    pen.save();
    shown.paint(pen);
    pen.restore();
  };
  const show = (next: Painting): void => {
    shown = next;
    place(over, next.area);
    Object.assign(canvas.style, { width: `${next.width}px`, height: `${next.height}px` });
    draw();
  };
  shownOn.set(canvas, () => shown);
  watchPointer(over, listeners);
  show(first);
  // Another screen, or the browser's own zoom: the size in CSS pixels may be the same then.
  window.addEventListener("resize", draw);
  return {
    show,
    destroy() {
      window.removeEventListener("resize", draw);
      canvas.remove();
      over.remove();
    },
  };
}
