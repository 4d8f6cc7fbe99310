// Numbers as the page writes them: at most three significant digits, a thin space between thousands, a real minus.

import type { Num } from "../types";

const THIN = "\u202f";
const MINUS = "\u2212";
const NONE = "\u2013";

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
}

/** A whole number in full: 23460 is "23 460". */
export function count(value: number): string {
  return (value < 0 ? MINUS : "") + grouped(String(Math.abs(Math.round(value))));
}

/** "1 batch", "2 batches": `many` is the plural of `one`. */
export function counted(value: number, one: string, many: string): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/**
 * A measured value. Three significant digits; from 0.0001 to a million written out, beyond that with an exponent.
 * Null and non-finite values are a dash.
 */
export function num(value: Num | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : "";
  if (size < 9.995e-5 || size >= 999_500) {
    const [mantissa = "", exponent = ""] = size.toExponential(digits - 1).split("e");
    return `${sign}${trimmed(mantissa)}e${exponent.replace("+", "").replace("-", MINUS)}`;
  }
  const rounded = Number(size.toPrecision(digits));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(rounded)));
  const [whole = "0", fraction] = trimmed(rounded.toFixed(decimals)).split(".");
  return sign + grouped(whole) + (fraction ? `.${fraction}` : "");
}

function trimmed(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** A change: always with its sign, "+0.31". Zero is "+0". */
export function signed(value: Num | undefined, digits = 3): string {
  const text = num(value, digits);
  return text === NONE || text.startsWith(MINUS) ? text : `+${text}`;
}

/** Decimals that show two significant digits of the largest of some changes; null where an exponent is needed. */
function decimalsOf(largest: number): number | null {
  const size = Math.abs(largest);
  return size >= 1e-4 && size < 1e4 ? Math.max(0, 1 - Math.floor(Math.log10(size))) : null;
}

function fixed(value: number, decimals: number): string {
  const text = Math.abs(value).toFixed(decimals);
  if (text === "0") return text;
  return (value < 0 && Number(text) !== 0 ? MINUS : "+") + text;
}

/** A change with two significant digits, none dropped: "+0.30". */
export function change(value: number): string {
  const decimals = decimalsOf(value);
  return decimals === null ? signed(value, 2) : fixed(value, decimals);
}

/**
 * The parts of a sum and, last, the sum, with equal decimals. The parts as written add up to the sum as written: where
 * rounding would leave a difference, the parts that were rounded most take it.
 */
export function addingUp(values: readonly number[]): string[] {
  const largest = Math.max(...values.map(Math.abs));
  const fitting = decimalsOf(largest);
  if (fitting === null) {
    // All in the power of ten of the largest, so that they can be compared.
    const power = largest > 0 ? Math.floor(Math.log10(largest)) : 0;
    return addingUp(values.map((value) => value / 10 ** power)).map((text) => (/[1-9]/.test(text) && power !== 0 ? `${text}e${String(power).replace("-", MINUS)}` : "0"));
  }
  const total = values[values.length - 1] ?? 0;
  // One digit more where that shows a part which would else be rounded to nothing.
  const lost = (value: number): boolean => Math.abs(value) < 0.5 * 10 ** -fitting && Math.abs(value) >= 0.05 * 10 ** -fitting;
  const decimals = fitting + (fitting < 2 && values.some(lost) ? 1 : 0);
  const unit = 10 ** -decimals;
  const parts = values.slice(0, -1).map((value) => ({ exact: value / unit, whole: Math.round(value / unit) }));
  let rest = Math.round(total / unit) - parts.reduce((sum, part) => sum + part.whole, 0);
  // A sum that does not hold is written as it is: nothing is made to fit here but what rounding did.
  if (Math.abs(rest) > parts.length) rest = 0;
  for (; rest !== 0; rest -= Math.sign(rest)) {
    const sign = Math.sign(rest);
    const most = parts.reduce((a, b) => (sign * (b.exact - b.whole) > sign * (a.exact - a.whole) ? b : a));
    most.whole += sign;
  }
  return [...parts.map((part) => fixed(part.whole * unit, decimals)), fixed(total, decimals)];
}

/** A share 0..1 as "84 %"; small shares keep one digit: "0.2 %". */
export function percent(share: Num | undefined): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return NONE;
  const value = share * 100;
  return `${num(value, Math.abs(value) >= 1 ? 2 : 1)}${THIN}%`;
}

/** Labels of evenly spaced ticks: all with the decimals that the spacing needs. */
export function tickLabels(ticks: readonly number[]): string[] {
  const [first, second] = ticks;
  if (first === undefined || second === undefined) return ticks.map((tick) => num(tick));
  const spacing = Math.abs(second - first);
  const largest = Math.max(...ticks.map(Math.abs));
  if (largest >= 1e6 || (largest > 0 && largest < 1e-3)) return ticks.map((tick) => num(tick));
  const decimals = Math.max(0, Math.min(6, -Math.floor(Math.log10(spacing) + 1e-9)));
  return ticks.map((tick) => {
    const [whole = "0", fraction] = Math.abs(tick).toFixed(decimals).split(".");
    return (tick < 0 ? MINUS : "") + grouped(whole) + (fraction ? `.${fraction}` : "");
  });
}
