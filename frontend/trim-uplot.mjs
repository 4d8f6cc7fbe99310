// Leaves out the parts of uPlot that this page never calls, nearly half of it: dates, bars, splines, steps, joins, legends, hover points,
// plugins, and what chooses ranges and ticks (plot.ts gives them). uPlot is one closure, so a bundler cannot see that they are dead; the version is pinned, and a
// function that is not where it was stops the build.

const UNUSED = [
  "timeAxisVals",
  "timeAxisStamps",
  "timeAxisVal",
  "timeSeriesStamp",
  "timeSeriesVal",
  "fmtDate",
  "tzDate",
  "stepped",
  "bars",
  "splineInterp",
  "_monotoneCubic",
  "join",
  "nullExpand",
  "sortCols",
  "isAsc",
  "allHeadersSame",
  "snapAsinhY",
  "asinhAxisSplits",
  "log10AxisValsFilt",
  "log2AxisValsFilt",
  "snapNumX",
  "snapNumY",
  "snapLogY",
  "numAxisVals",
  "numAxisSplits",
  "logAxisSplits",
  "numSeriesVal",
  "initLegendRow",
  "syncLegend",
  "setLegendValues",
  "setLegend",
  "legendStroke",
  "legendFill",
  "setSeries",
  "setFocus",
  "pubSync",
  "cursorPointShow",
  "cursorPointFill",
  "cursorPointStroke",
  "cursorPointSize",
  "toggleDOM",
  "addSeries",
  "delSeries",
  "addBand",
  "delBand",
  "autoPadSide",
  "initCursorPt",
  "setAlpha",
  "setBand",
  "guessDec",
  "seriesPointsShow",
  "pub",
  "dblClick",
  "closestIdxFromXpos",
];

// Of these a pair is still taken apart, or a list is filtered: they stay as a function that answers with one.
const PAIRS = ["rangeLog", "_rangeNum", "rangeAsinh", "findIncr", "getMinMax", "genIncrs", "getIncrSpace"];

// Conditions whose value is known for this page: no facets, vertical plots, times, legend, synchronised plots, focus, hover points,
// ticks, borders, axis titles, turned labels or derived scales. The bundler drops what can then never run.
const KNOWN = [
  ["mode == 1", true],
  ["mode == 2", false],
  ["scaleX.ori == 0", true],
  ["scaleX.ori == 1", false],
  ["src == null", true],
  ["src != null", false],
  ["e != null", true],
  ["sc.from != null", false],
  ["sc.from == null", true],
  ["wsc.from != null", false],
  ["wsc.from == null", true],
  ["scaleOpts.from != null", false],
  ["syncKey != null", false],
  ["axis.label != null", false],
  ["isTime ?", "false ?"],
  ["if (cursorFocus", "if (false"],
  ["if (cursorFocus && yVal2 != null", "if (false"],
  ["if (showLegend", "if (false"],
  ["if (shouldSetLegend", "if (false"],
  ["if (angle", "if (false"],
  ["if (ticks.show", "if (false"],
  ["if (border.show", "if (false"],
  ["if (drag.setScale", "if (false"],
  ["if (cursor.lock", "if (false"],
  ["if (cursorOnePt", "if (false"],
  ["if (shouldSetLegend || cursorOnePt", "if (false"],
  ["uni != null", false],
  ["xScaleDistr == 2", false],
  ["scale.distr == 2", false],
  ["sc.distr == 2", false],
  ["sc.distr == 4", false],
  ["distr == 4", false],
  ["distr == 100", false],
  ["sc.distr == 100", false],
  ["xScaleDistr == 3", false],
  ["xScaleDistr == 4", false],
  ["scaleX.time", false],
  ["dir == 1", true],
  ["dir == -1", false],
  ["sc.dir == -1", false],
  ["scale.dir == -1", false],
  ["scale.dir == 1", true],
  ["b.dir == 1", false],
  ["scaleKey != xScaleKey", false],
  ["const decimate = idx1 - idx0 >= xDim * 4", "const decimate = false"], // at most 1300 points
  ["!series.spanGaps", true],
  ["(flags & CLIP_FILL_STROKE) == CLIP_FILL_STROKE", false],
  ["flags & BAND_CLIP_STROKE", false],
  ["strokePath instanceof Map", false],
  ["fillPath instanceof Map", false],
  ["ori == 0 ? rectH", "true ? rectH"],
  ["endRad == 0 && baseRad == 0", true],
  ["legend.live", false],
  ["legend.show", false],
  ["select.show", true],
  ["if (showCursor", "if (true"],
  ["pt != null", false],
  ["opts.id != null", false],
  ["opts.title", false],
  ["_space == 0", false],
  ["scale.min == null", false],
  ["[_incr, _space] = axis._found", "[_incr, _space] = [0, 1]"],
  ["cursor.dataIdx == null", false],
  ["if (cursor._lock)", "if (false)"],
  ["cursor.dataIdx(self, i, idx, valAtPosX)", "idx"],
  ["(opts.plugins || []).forEach", "void "],
  ["days.map(slice3)", "[]"],
  ["months.map(slice3)", "[]"],
  ["new Intl.NumberFormat(domEnv ? nav.language : 'en-US')", "null"],
  ["new Intl.DateTimeFormat().resolvedOptions().timeZone", "null"],
  ["assign({}, facet, {scale: 'x'})", "null"],
  ["assign({}, facet, {scale: 'y'})", "null"],
  ["_sync(syncKey)", "null"],
  ["sync.sub(self)", ""],
  ["sync.unsub(self)", ""],
  ["if (syncOpts.match.length == 2)", "if (false)"],
  ["const syncOpts = assign({", "const syncOpts = void ({"],
  ["syncOpts.key", "null"],
  ["drag.x && drag.y", false],
  ["drag.y && rawDY >= drag.dist", false],
  ["ctxAlpha != s.alpha", false],
  ["ctxAlpha != _ctxAlpha", false],
  ["let shouldAlpha = series.some(s => s._focus) && ctxAlpha != focus.alpha", "let shouldAlpha = false"],
  ["if (_pub)", "if (false)"],
  ["_pub && syncOpts.setSeries", false],
];

/** The text with `by` wherever `pattern` is found; what is not there stops the build, and so does what is there more than `most` times. */
function replaced(text, pattern, by, what, most = Infinity) {
  const found = (text.match(pattern) ?? []).length;
  if (found === 0 || found > most) throw new Error(`uPlot has not ${what}; see trim-uplot.mjs`);
  return text.replace(pattern, () => by);
}

/** The source without the bodies of `UNUSED` and `PAIRS`, and without the exports that keep them alive. */
export function trimUplot(source) {
  let text = source;
  for (const name of [...UNUSED, ...PAIRS]) {
    const body = new RegExp(`^(\\t?)function ${name}\\(.*\\) \\{\\n[\\s\\S]*?^\\1\\}`, "gm");
    text = replaced(text, body, `function ${name}() {${PAIRS.includes(name) ? " return [0, 1]; " : ""}}`, `one function ${name}`, 1);
  }
  text = replaced(text, /^function genTimeStuffs\(ms\) \{\n[\s\S]*?^\}/m, "function genTimeStuffs() { return [[], [], noop]; }", "function genTimeStuffs");
  text = replaced(text, /^uPlot\.assign = [\s\S]*(?=^export )/m, "", "list of its exports");
  // The longest first: one may be the beginning of another.
  for (const [condition, value] of [...KNOWN].sort(([a], [b]) => b.length - a.length)) {
    const found = new RegExp(`(?<![\\w.])${condition.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?!\\w)`, "g");
    text = replaced(text, found, String(value), `condition ${condition}`);
  }
  return text;
}
