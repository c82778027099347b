// SPDX-License-Identifier: Apache-2.0

// Makes ../static, which is committed: the same input gives the same bytes.
import { build } from "esbuild";
import { copyFile, readFile, writeFile } from "node:fs/promises";

const out = "../static";

await build({
  entryPoints: { app: "src/main.tsx", style: "src/style/index.css" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox113", "safari16.4"],
  charset: "utf8",
  legalComments: "none", // licences.txt has them whole
  banner: { js: "// SPDX-License-Identifier: Apache-2.0 AND MIT", css: "/* SPDX-License-Identifier: Apache-2.0 AND MIT */" },
  logLevel: "warning",
});

const libraries = ["preact", "uplot"];
const licences = await Promise.all(
  libraries.map(async (name) => {
    const { version } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}\n\n${(await readFile(`node_modules/${name}/LICENSE`, "utf8")).trim()}\n`;
  }),
);
await writeFile(`${out}/licences.txt`, `The page contains these libraries.\n\n${licences.join("\n")}`);
await copyFile("src/index.html", `${out}/index.html`);
await copyFile("src/icon.svg", `${out}/icon.svg`);
