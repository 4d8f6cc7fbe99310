// A table's rows in the order of one of its columns.

import type { Num } from "../types";

export interface Order {
  column: number;
  /** The largest first. */
  falling: boolean;
}

/** Row numbers, sorted by size: of distances the sign does not count. Rows without a value come last either way. */
export function sorted(values: readonly Num[], falling: boolean, unsigned: boolean): number[] {
  const size = (row: number): number => {
    const value = values[row] ?? null;
    return value === null ? NaN : unsigned ? Math.abs(value) : value;
  };
  return values
    .map((_, row) => row)
    .sort((a, b) => {
      const [one, other] = [size(a), size(b)];
      if (Number.isNaN(one) || Number.isNaN(other)) return Number(Number.isNaN(one)) - Number(Number.isNaN(other)) || a - b;
      return (falling ? other - one : one - other) || a - b;
    });
}

/** The next order after a click on a column: large values first, and the other way round on the second click. */
export function clicked(order: Order, column: number): Order {
  return { column, falling: order.column === column ? !order.falling : true };
}
