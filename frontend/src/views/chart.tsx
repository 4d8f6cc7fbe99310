// A chart as a view: a canvas of the given size, drawn again when its painting changes.

import type { JSX, TargetedWheelEvent } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { type Chart as Canvas, createChart, type Listeners, type Painting } from "../chart/canvas";

interface Props extends Painting, Listeners {
  /** What is drawn, for who cannot see it. */
  label: string;
  class?: string;
  onWheel?: (event: TargetedWheelEvent<HTMLDivElement>) => void;
}

/** `paint` says by its identity whether anything changed. */
export function Chart(props: Props): JSX.Element {
  const { width, height, area, paint, label, class: extra = "", onWheel } = props;
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<Canvas | null>(null);
  const latest = useRef<Listeners>(props);
  latest.current = props;
  useLayoutEffect(() => {
    if (host.current === null || width <= 0) return;
    const painting = { width, height, area, paint };
    if (chart.current === null) chart.current = createChart(host.current, painting, () => latest.current);
    else chart.current.show(painting);
  }, [width, height, paint]);
  useEffect(
    () => () => {
      chart.current?.destroy();
      chart.current = null;
    },
    [],
  );
  return <div ref={host} class={`plot ${extra}`} role="img" aria-label={label} style={{ height }} {...(onWheel ? { onWheel } : {})} />;
}
