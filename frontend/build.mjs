// Bundles the page into the folder that the plugin serves (or `--out FOLDER`): one module, the styles inside it as text.
import { context, build } from "esbuild";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const at = process.argv.indexOf("--out");
const out = at > 0 ? process.argv[at + 1] : join(here, "..", "tb_losslens", "plugin", "static");

const options = {
  entryPoints: [join(here, "src", "index.ts")],
  bundle: true,
  format: "esm",
  minify: true,
  target: ["es2021"],
  outfile: join(out, "index.js"),
  loader: { ".css": "text" },
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "utf8",
  plugins: [
    {
      // Styles travel as a string, which esbuild does not minify by itself.
      name: "minified-css",
      setup(setup) {
        setup.onLoad({ filter: /\.css$/ }, async ({ path }) => {
          const result = await build({ entryPoints: [path], bundle: true, write: false, minify: true, target: ["chrome105", "firefox110", "safari16"] });
          return { contents: result.outputFiles[0].text.trim(), loader: "text" };
        });
      },
    },
  ],
};

await mkdir(out, { recursive: true });
if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  const { outputFiles } = await build({ ...options, write: false });
  // Over what esbuild leaves, terser saves another kilobyte of the 45 that the page may have.
  const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2021, compress: { passes: 2 } });
  await writeFile(options.outfile, code);
  const size = gzipSync(code, { level: 9 }).length;
  process.stdout.write(`index.js: ${(size / 1024).toFixed(1)} KiB gzipped\n`);
}
