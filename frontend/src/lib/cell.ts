// A value that can be watched. The page has one of them (state.ts); nothing else holds state that outlives a view.

export interface Cell<T> {
  get(): T;
  /** Replaces the named fields and tells every watcher, unless each of them is already the same. */
  set(patch: Partial<T>): void;
  /** Calls `watcher` after each change; the result stops it. */
  watch(watcher: () => void): () => void;
}

export function cell<T extends object>(initial: T): Cell<T> {
  let value = initial;
  const watchers = new Set<() => void>();
  return {
    get: () => value,
    set(patch) {
      const keys = Object.keys(patch) as (keyof T)[];
      if (keys.every((key) => Object.is(value[key], patch[key]))) return;
      value = { ...value, ...patch };
      for (const watcher of [...watchers]) watcher();
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => {
        watchers.delete(watcher);
      };
    },
  };
}
