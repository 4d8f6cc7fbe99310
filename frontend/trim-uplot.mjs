// Leaves out the parts of uPlot that this page never calls, a third of it: dates, bars, splines, steps, joins, legends,
// and what chooses ranges and ticks (plot.ts gives them). uPlot is one closure, so a bundler cannot see that they are dead; the version is pinned, and a
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
  "rangeAsinh",
  "snapAsinhY",
  "asinhAxisSplits",
  "log10AxisValsFilt",
  "log2AxisValsFilt",
  "rangeLog",
  "_rangeNum",
  "snapNumX",
  "snapNumY",
  "snapLogY",
  "numAxisVals",
  "numAxisSplits",
  "logAxisSplits",
  "numSeriesVal",
  "genIncrs",
  "findIncr",
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
  "getMinMax",
  "toggleDOM",
  "addSeries",
  "delSeries",
  "addBand",
  "delBand",
];

// A range that nothing was asked for is still taken apart as a pair, hence what is left of each function.

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
  ["distr == 100", false],
];

/** The source without the bodies of `UNUSED`, and without the exports that keep them alive. */
export function trimUplot(source) {
  let text = source;
  for (const name of UNUSED) {
    const body = new RegExp(`^(\\t?)function ${name}\\(.*\\) \\{\\n[\\s\\S]*?^\\1\\}`, "gm");
    if ((text.match(body) ?? []).length !== 1) throw new Error(`uPlot has no function ${name} to leave out; see trim-uplot.mjs`);
    text = text.replace(body, `$1function ${name}() { return [0, 1]; }`);
  }
  const dates = /^function genTimeStuffs\(ms\) \{\n[\s\S]*?^\}/m;
  if (!dates.test(text)) throw new Error("uPlot has no function genTimeStuffs to leave out; see trim-uplot.mjs");
  // The longest first: one may be the beginning of another.
  for (const [condition, value] of [...KNOWN].sort(([a], [b]) => b.length - a.length)) {
    const found = new RegExp(`(?<![\\w.])${condition.replace(/[.?()|]/g, "\\$&")}(?!\\w)`, "g");
    if (!found.test(text)) throw new Error(`uPlot has no condition ${condition}; see trim-uplot.mjs`);
    text = text.replace(found, String(value));
  }
  return text.replace(dates, "function genTimeStuffs() {\n\treturn [[], [], noop];\n}");
}
