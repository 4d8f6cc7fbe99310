// What the charts may draw with: the part of a canvas context that an SVG can be written from as well.

export type Pen = Pick<
  CanvasRenderingContext2D,
  | "arc"
  | "beginPath"
  | "clip"
  | "fill"
  | "fillRect"
  | "fillStyle"
  | "fillText"
  | "font"
  | "globalAlpha"
  | "lineCap"
  | "lineTo"
  | "lineWidth"
  | "measureText"
  | "moveTo"
  | "rect"
  | "restore"
  | "save"
  | "setLineDash"
  | "stroke"
  | "strokeStyle"
  | "textAlign"
  | "textBaseline"
>;

/** A rectangle in CSS pixels; charts keep the one that data are drawn in apart from the labels around it. */
export interface Area {
  left: number;
  top: number;
  width: number;
  height: number;
}

export const FONT = "11px system-ui, sans-serif";

/** The middle of the device pixel that holds `at`: a hairline there is one pixel wide. */
export function crisp(at: number): number {
  const ratio = globalThis.devicePixelRatio || 1;
  return (Math.floor(at * ratio) + 0.5) / ratio;
}

/** Draws with `how` inside `area` only. */
export function within(pen: Pen, { left, top, width, height }: Area, how: () => void): void {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  how();
  pen.restore();
}
