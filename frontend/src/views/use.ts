// Hooks that more than one view needs.

import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type State, state } from "../state";

/** The page's state; the view is drawn again after each change. */
export function useStore(): State {
  const [value, setValue] = useState(state.get());
  useLayoutEffect(() => {
    const update = (): void => setValue(state.get());
    update();
    return state.watch(update);
  }, []);
  return value;
}

/** The width of an element in whole pixels, 0 until it is laid out. */
export function useWidth(): [RefObject<HTMLDivElement>, number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const measure = (): void => {
      // A frame in the background has no width; drawing into it would only have to be undone.
      const now = Math.floor(element.clientWidth);
      if (now > 0) setWidth(now);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** True for a moment after `mark()` was called. */
export function useMoment(): [boolean, () => void] {
  const [on, setOn] = useState(false);
  useEffect(() => {
    if (!on) return;
    const timer = window.setTimeout(() => setOn(false), 1600);
    return () => window.clearTimeout(timer);
  }, [on]);
  return [on, () => setOn(true)];
}
