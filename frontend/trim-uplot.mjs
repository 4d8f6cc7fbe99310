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
  return text.replace(dates, "function genTimeStuffs() {\n\treturn [[], [], noop];\n}");
}
