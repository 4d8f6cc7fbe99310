// Pictures of the tab, light and dark, at the widths that it is drawn for: to be looked at, and for the README.

import { open } from "./browser.mjs";

/** Writes `NAME-WIDTH-light.png` and `-dark.png` into `folder` for each of `places` (`{NAME: {run, boundary, ...}}`). */
export async function pictures(page, base, { folder, places, sizes }) {
  for (const [name, place] of Object.entries(places))
    for (const [width, height] of sizes) {
      await page.setViewportSize({ width, height });
      await page.goto("about:blank");
      const frame = await open(page, base, place, "main");
      await frame.locator(".plot canvas, .empty, .failure, .lane path").first().waitFor();
      await frame.locator(".closer .card:not([aria-busy=true]), .empty, .failure, .card.wide").first().waitFor();
      for (const mode of ["light", "dark"]) {
        await page.evaluate((dark) => document.body.classList.toggle("dark-mode", dark), mode === "dark");
        await page.waitForTimeout(600);
        await page.screenshot({ path: `${folder}/${name}-${width}-${mode}.png` });
      }
    }
}
