// The labels of the x axis that the timeline and the map of layers share.

import { epochTicks, stepTicks, type Tick } from "../lib/axis";
import { tickLabels } from "../lib/format";
import { type Frame, inner } from "../lib/frame";
import type { Num, Timeline } from "../types";

export function xTicks({ epochs }: Pick<Timeline, "epochs">, batches: readonly Num[], steps: readonly Num[], frame: Frame, axis: "epoch" | "step"): Tick[] {
  const room = (frame.to - frame.from) * (30 / inner(frame));
  if (axis === "epoch" && epochs.epoch.length > 0) return epochTicks(epochs, frame, room);
  return stepTicks(batches.map((value) => value ?? 0), steps.map((value) => value ?? 0), frame, inner(frame) / 90, tickLabels);
}
