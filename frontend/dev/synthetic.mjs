// Made-up runs in the exact wire format, for working on the page without a training. Deterministic.

function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const normal = (next) => Math.sqrt(-2 * Math.log(next() + 1e-12)) * Math.cos(2 * Math.PI * next());

function training({ name, kind, short, epochs = 12, per = 160, jump = 0.3, noise = 0.05, spikeAt = null, nan = false, live = false, seed = 1 }) {
  const next = random(seed);
  const batches = epochs * per;
  const loss = [];
  const lr = [];
  const grad = [];
  for (let b = 0; b < batches; b += 1) {
    const e = Math.floor(b / per);
    const i = b % per;
    const base = 0.38 + 1.7 * Math.exp(-b / (per * 3));
    const bump = e > 0 ? jump * (0.6 + 0.5 * Math.exp(-e / 4)) * Math.exp(-i / (per * 0.09)) : 0;
    let value = base + bump + normal(next) * noise * (0.6 + base);
    if (spikeAt !== null && b >= spikeAt && b < spikeAt + 4) value += 0.8;
    loss.push(nan && b > batches * 0.8 && b % 37 === 0 ? null : value);
    lr.push(jump > 0.1 ? 0.002 + 0.05 * (1 + Math.cos((Math.PI * i) / per)) : 0.05 * Math.cos((Math.PI * b) / batches / 2.2));
    grad.push(0.9 + (bump > 0 ? 7 * bump * Math.exp(-i / (per * 0.2)) : 0) + Math.abs(normal(next)) * 0.15);
  }
  return { name, kind, short, epochs, per, batches, loss, lr, grad, live, noise, next };
}

export const HOSTILE = `<img src=x onerror="window.top.pwned=1"> "quoted" 'single' \u{1F525} ünïcödé/` + "x".repeat(140);

export const RUNS = [
  training({ name: "cosine_restarts", kind: "fault", short: "jumps up 11 of 11", spikeAt: 1045 }),
  training({ name: "baseline", kind: "benign", short: "nothing beyond noise", jump: 0, seed: 2 }),
  training({ name: "keras_default", kind: "artifact", short: "curve is a running mean", jump: -0.3, noise: 0.01, seed: 3 }),
  training({ name: "shuffle_once", kind: "fault", short: "same order each epoch", jump: 0.1, seed: 4 }),
  training({ name: "finetune_3ep", kind: "benign", short: "memorisation, expected", epochs: 3, per: 700, jump: -0.2, seed: 5 }),
  training({ name: "planned_unfreeze", kind: "planned", short: "planned change", epochs: 60, per: 100, jump: 0.12, seed: 6 }),
  training({ name: "diverged", kind: "unknown", short: "1 spike unexplained", nan: true, jump: 0, seed: 7 }),
  training({ name: HOSTILE, kind: "fault", short: "<b>jumps</b> up", seed: 8 }),
  training({ name: "live_run", kind: "pending", short: "", live: true, epochs: 4, seed: 9 }),
];

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
const finite = (values) => values.filter((value) => value !== null);

function boundaries(run) {
  const m = Math.max(5, Math.round(run.per * 0.07));
  return Array.from({ length: run.epochs - 1 }, (_, index) => {
    const batch = (index + 1) * run.per;
    const before = mean(finite(run.loss.slice(batch - m, batch)));
    const after = mean(finite(run.loss.slice(batch, batch + m)));
    const scale = run.noise * 0.6;
    const z = (after - before) / scale;
    const significant = Math.abs(z) > 3;
    const kind = significant ? run.kind : "none";
    return {
      index, batch, step: batch, epoch: index + 1, m, significant, log_scale: false, shape: significant ? "transient" : "none", kind, cause: significant ? "lr_increase" : "",
      jump: after - before, z, before, after, placebo_low: -1.6 * scale, placebo_high: 1.5 * scale, placebo_median: 0, placebo_count: 60,
    };
  });
}

function finding(run, ks) {
  return {
    cause: "lr_increase", detail: "scheduler_reset", kind: run.kind === "pending" ? "unknown" : run.kind, strength: "proved", title: "LR raised at the boundary",
    text: "The scheduler object is new at each epoch start: its step count falls from 159 to 0 and the LR rises 51×.",
    score: 0.98, boundaries: ks, steps: [], share: 0.84, explains_jump: true,
    evidence: ["LR ratio ×51 at 11 of 11 boundaries, ≤ ×1.01 within epochs", "jump follows at the same batch; gradient norm one batch later", "larger LR steps, larger jumps (ρ 0.93)"],
    evidence_at: [{ signal: "lr", span: null }, { signal: "grad_norm", span: [run.per * 7 - 5, run.per * 7 + 12] }, null],
    against: [], against_at: [], missing: ["writer.log_batch(loss, per_sample=losses)"], advice: "Create the scheduler once, before the loop over epochs.",
    fix: "scheduler = CosineAnnealingLR(opt, T_max=epochs * len(loader))\nfor epoch in range(epochs):            # was created here\n    for x, y in loader:\n        ...; scheduler.step()",
    confirm: "replay boundary 7 with the LR held: `losslens confirm cosine_restarts -k 7`",
  };
}

export function diagnosis(run) {
  const all = boundaries(run);
  const up = all.filter((b) => b.jump > 0).length;
  const found = all.some((b) => b.significant) ? [finding(run, all.filter((b) => b.significant).map((b) => b.index))] : [];
  if (run.name === "cosine_restarts")
    found.push({ ...finding(run, []), cause: "unknown", kind: "unknown", strength: "possible", title: "Spike at batch 1 045, 4 batches", share: null, boundaries: [], steps: [1045],
      text: "Input, LR and gradients before it are normal. Sample ids 4 112 and 9 871 are in it and in no other outlying batch.", evidence: ["loss 8.1 noise units above its neighbours"], evidence_at: [{ signal: "loss", span: [1045, 1049] }], fix: "", missing: [], advice: "Run batch 1 045 again.", confirm: "" });
  const jumps = found.length > 0;
  return {
    run: run.name, kind: run.kind === "pending" ? "benign" : run.kind, short: run.short, batches: run.batches, epochs: run.epochs,
    verdict: jumps ? `Loss jumps up at ${up} of ${all.length} epoch boundaries` : "No jump beyond noise",
    headline: jumps ? `Loss jumps up at ${up} of ${all.length} epoch boundaries, median +0.31` : `No jump beyond noise at ${all.length} boundaries`,
    aside: jumps ? "(18× the noise, p < 0.001)" : "", subline: jumps ? "Fault, proved: the learning-rate scheduler is created again each epoch, so the LR returns from 0.002 to 0.102. It accounts for 84 % of the jump." : "",
    pooled: { direction: 1, up, down: all.length - up, total: all.length, median: 0.31, z: 18, p: 1e-4, reason: "" }, boundaries: all, findings: found,
    checked: [{ cause: "repeated_order", text: "12 orders, all different" }, { cause: "wrong_mode", text: "mode train at every step" }, { cause: "partial_last_batch", text: "every batch has 64 samples" }],
    skipped: [{ cause: "label_noise", why: "needs per-sample losses", how: "writer.log_batch(loss, per_sample=losses)" }, { cause: "batchnorm_drift", why: "no BatchNorm statistics", how: "writer.watch(model, optimizer, criterion=criterion)" }],
    problems: [],
  };
}

export function timeline(run, from, to, points) {
  const per = Math.max(1, Math.ceil((to - from) / points));
  const rows = { batch: [], step: [], mean: [], min: [], max: [], lr: [] };
  const nonfinite = [];
  for (let b = from; b < to; b += per) {
    const part = run.loss.slice(b, Math.min(to, b + per));
    const good = finite(part);
    part.forEach((value, i) => value === null && nonfinite.push(b + i));
    rows.batch.push(b);
    rows.step.push(b);
    rows.mean.push(good.length ? mean(good) : null);
    rows.min.push(good.length ? Math.min(...good) : null);
    rows.max.push(good.length ? Math.max(...good) : null);
    rows.lr.push(run.lr[b]);
  }
  const es = Array.from({ length: run.epochs }, (_, e) => e).filter((e) => (e + 1) * run.per > from && e * run.per < to);
  const ends = es.map((e) => (e + 1) * run.per).filter((b) => b <= to);
  return {
    run: run.name, from, to, batches: run.batches, raw: per === 1, names: ["batch", "step", "mean", "min", "max"], columns: [rows.batch, rows.step, rows.mean, rows.min, rows.max],
    lanes: { names: ["batch", "lr"], columns: [rows.batch, rows.lr] }, nonfinite,
    epochs: { epoch: es, from: es.map((e) => e * run.per), to: es.map((e) => (e + 1) * run.per) },
    validation: { batch: ends, step: ends, value: ends.map((b) => mean(finite(run.loss.slice(b - 20, b))) + 0.05) },
    events: { batch: [...ends, run.per * 4, run.per * 8], step: [...ends, run.per * 4, run.per * 8], kind: [...ends.map(() => "validation"), "save", "config_change"], text: [...ends.map(() => ""), "checkpoint.pt", "dropout 0.1 → 0.2 <script>alert(1)</script>"] },
    settings: { loss_source: "criterion", overhead: 0.002 },
  };
}

export function lens(run, k, m) {
  const b = boundaries(run)[k];
  const side = m ?? Math.max(20, Math.min(b.m * 2, 60));
  const at = Array.from({ length: 2 * side }, (_, i) => i - side).filter((o) => b.batch + o >= 0 && b.batch + o < run.batches);
  const pick = (column) => at.map((o) => column[b.batch + o] ?? null);
  const flat = (level, size) => at.map(() => level + size * normal(run.next));
  const moved = b.significant && run.kind === "fault";
  return {
    run: run.name, boundary: b, m: side, names: ["offset", "batch", "step", "loss"], columns: [at, at.map((o) => b.batch + o), at.map((o) => b.batch + o), pick(run.loss)],
    placebo: { low: b.placebo_low, high: b.placebo_high, median: 0, count: 60 },
    signals: [
      { name: "lr", label: "LR", unit: "", offset: at, value: pick(run.lr), said: moved ? "0.002 → 0.102 (×51)" : "steady", moved, z: 40 },
      { name: "grad_norm", label: "grad norm", unit: "", offset: at, value: pick(run.grad), said: moved ? "0.9 → 3.0, 1 batch later" : "steady (z 0.3)", moved, z: 9 },
      { name: "input_mean", label: "input mean", unit: "", offset: at, value: flat(0, 0.1), said: "steady (z 0.4)", moved: false, z: 0.4 },
      { name: "input_std", label: "input std", unit: "", offset: at, value: flat(1, 0.03), said: "steady (z 0.2)", moved: false, z: 0.2 },
      { name: "batch_size", label: "batch size", unit: "samples", offset: at, value: at.map(() => 64), said: "64 throughout", moved: false, z: 0 },
      { name: "train_mode", label: "mode", unit: "", offset: at, value: at.map(() => 1), said: "train throughout", moved: false, z: 0 },
      { name: "data_wait", label: "data wait", unit: "s", offset: at, value: flat(0.004, 0.001), said: "steady (z 0.1)", moved: false, z: 0.1 },
    ],
    waterfall: b.significant ? [
      { label: "LR step", value: b.jump * 0.84, kind: run.kind, cause: "lr_increase" },
      { label: "which samples", value: b.jump * 0.1, kind: "none", cause: "" },
      { label: "batch size", value: 0, kind: "none", cause: "" },
      { label: "not explained", value: b.jump * 0.06, kind: "rest", cause: "" },
      { label: "jump", value: b.jump, kind: "jump", cause: "" },
    ] : [{ label: "which samples", value: b.jump * 0.4, kind: "none", cause: "" }, { label: "not explained", value: b.jump * 0.6, kind: "rest", cause: "" }, { label: "jump", value: b.jump, kind: "jump", cause: "" }],
    waterfall_note: "", missing: [{ label: "BN gap", how: "writer.watch(model, optimizer, criterion=criterion)" }],
  };
}

export function overlay(run, points) {
  const every = Math.max(1, Math.ceil(run.per / points));
  const position = [];
  for (let i = 0; i < run.per; i += every) position.push(i);
  const es = Array.from({ length: Math.min(40, run.epochs) }, (_, e) => e);
  return { position, epoch: es, columns: es.map((e) => position.map((i) => run.loss[e * run.per + i])), batches: run.per };
}
