// The wire format, as tb_losslens/plugin/http_api.md describes it. One file, so that a change of the contract is one diff.

export type FindingKind = "artifact" | "benign" | "planned" | "fault" | "unknown";
export type RunKind = FindingKind | "pending" | "plain";
export type MarkKind = FindingKind | "none";
export type Num = number | null;

export interface RunRow {
  /** The name that every route takes. */
  run: string;
  /** What a reader calls it. */
  label: string;
  batches: number;
  epochs: number;
  verdict: string;
  kind: RunKind;
  short: string;
  live: boolean;
  plain: boolean;
  /** Another text as soon as the run has grown. */
  version: string;
}
export interface RunsResponse {
  runs: RunRow[];
  hint: string;
  /** Lines of Python that start a recording below this log directory. */
  code: string;
}

export interface Boundary {
  index: number;
  batch: number;
  step: number;
  epoch: number;
  m: number;
  significant: boolean;
  log_scale: boolean;
  shape: string;
  recovery?: Num;
  kind: MarkKind;
  cause: string;
  /** Why the jump cannot be judged; empty where it can. */
  unmeasured: string;
  /** Not counted as a jump, and too large to be called noise. */
  unclear: boolean;
  jump: Num;
  z: Num;
  before: Num;
  after: Num;
  placebo_low: Num;
  placebo_high: Num;
  placebo_median: Num;
  placebo_count: number;
}

export interface EvidencePlace {
  signal: string | null;
  span: [number, number] | null;
}

export interface Finding {
  cause: string;
  detail: string;
  kind: FindingKind;
  strength: "proved" | "likely" | "possible";
  title: string;
  text: string;
  score: number;
  boundaries: number[];
  steps: number[];
  share: Num;
  explains_jump: boolean;
  evidence: string[];
  evidence_at: (EvidencePlace | null)[];
  against: string[];
  against_at: (EvidencePlace | null)[];
  missing: string[];
  advice: string;
  fix: string;
  confirm: string;
}

export interface Diagnosis {
  run: string;
  verdict: string;
  kind: FindingKind;
  headline: string;
  subline: string;
  aside: string;
  short: string;
  batches: number;
  epochs: number;
  pooled: { direction: number; up: number; down: number; total: number; median: Num; z: Num; p: number; reason: string };
  boundaries: Boundary[];
  findings: Finding[];
  checked: { cause: string; text: string }[];
  skipped: { cause: string; why: string; how: string }[];
  /** What a calm verdict leaves open, for the first screen; else empty. */
  unchecked: string;
  plain: boolean; // made from ordinary scalars: batches are logged losses
  problems: string[];
}

export interface Table {
  names: string[];
  columns: Num[][];
}

/** A signal that was never recorded, and the line of code that records it. */
export interface Missing {
  label: string;
  how: string;
}

/** Holes in the record: the first batch after each, and how many batches are missing before it. */
export interface Gaps {
  batch: number[];
  lost: number[];
}

export interface Timeline extends Table {
  run: string;
  from: number;
  to: number;
  batches: number;
  raw: boolean;
  lanes: Table;
  /** Further signals, a value for each bucket. */
  more: { name: string; label: string; unit: string; value: Num[] }[];
  nonfinite: number[];
  gaps: Gaps;
  epochs: { epoch: number[]; from: number[]; to: number[] };
  validation: { batch: number[]; step: number[]; value: Num[] };
  events: { batch: number[]; step: number[]; kind: string[]; text: string[] };
  settings: { loss_source: string; overhead: Num; elapsed?: Num };
  missing: Missing[];
}

/** What can be read at once; without a diagnosis where that is still to be made. */
export interface First {
  timeline: Timeline;
  diagnosis: Diagnosis | null;
}

export interface LensSignal {
  name: string;
  label: string;
  unit: string;
  offset: number[];
  value: Num[];
  said: string;
  moved: boolean;
  z: Num;
}

export interface Lens extends Table {
  run: string;
  boundary: Boundary;
  m: number;
  placebo: { low: Num; high: Num; median: Num; count: number };
  signals: LensSignal[];
  waterfall: { label: string; value: number; kind: MarkKind | "rest" | "jump"; cause: string; low?: Num; high?: Num }[];
  waterfall_note: string;
  /** Batches whose loss was not logged, as against one that is not finite. */
  unlogged: number[];
  missing: Missing[];
  epochs: number[];
  gaps: Gaps;
  /** All boundaries laid over each other: mean of the loss less the level before each, with its interval. */
  all: (Table & { count: number }) | null;
}

export interface Overlay {
  position: number[];
  epoch: number[];
  columns: Num[][];
  batches: number;
}

/** The loss by epoch and position; a row is `per_row` epochs after each other. */
export interface Fold {
  position: number[];
  length: number;
  epochs: number;
  per_row: number;
  epoch: number[];
  /** Row of the run at which each row's first epoch begins. */
  batch: number[];
  level: Num[];
  cells: Num[][];
  /** Mean, low and high of the loss less its epoch's mean, at each position. */
  profile: Table & { epochs: number };
  said: string;
}

/** The batches that lie furthest from those around them, in the order of the run. */
export interface Batches extends Table {
  nonfinite: number[];
  /** Robust standard deviations from which on a batch is counted. */
  far: number;
  count: number;
  said: string;
  missing: Missing[];
}

export interface Batch {
  batch: number;
  step: number;
  epoch: Num;
  index: Num;
  ids: number[];
  samples: number;
  classes: { class: number; count: number; share: number; usual: number }[];
  numbers: { name: string; label: string; unit: string; value: number; usual: Num; z: Num }[];
  layers: { batch: number; names: string[]; value: Num[]; usual: Num[] };
  around: Table;
  visits: Table & { epochs: number; said: string };
  missing: Missing[];
}

/** One number of each layer; a column begins at a batch that was read. */
export interface Layers {
  signal: string;
  signals: { name: string; label: string }[];
  label: string;
  from: number;
  to: number;
  names: string[];
  layers: number;
  batch: number[];
  read: number;
  cells: Num[][];
  said: string;
  missing: Missing[];
}

export interface ComparedRun {
  run: string;
  label: string;
  kind: RunKind;
  short: string;
  verdict: string;
  batches: number;
  epochs: number;
  /** Pooled median of the jumps. */
  jump: Num;
  last: Num;
  noise: Num;
  jumps: { index: number[]; jump: Num[]; kind: MarkKind[] };
  /** The best first. */
  findings: Pick<Finding, "cause" | "title" | "kind" | "strength">[];
  loss: Table;
  settings: (string | number | boolean | null)[];
}

export interface Compare {
  runs: ComparedRun[];
  differ: { name: string; label: string }[];
  /** The name of the one that was swept. */
  sweep: string | null;
  said: string;
}

export interface ScalarTags {
  tags: string[];
}
export interface Scalar extends Table {
  tag: string;
}
export interface Report {
  markdown: string;
}
