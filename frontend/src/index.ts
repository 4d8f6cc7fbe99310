// TensorBoard imports this module into a frame of its own and calls `render`.

import { h, render as mount } from "preact";
import { watchDark } from "./host";
import { start } from "./navigate";
import { poll } from "./poll";
import { state } from "./state";
import { App } from "./views/app";
import { watchKeys } from "./views/keys";
import styles from "./views/style.css";

export function render(): void {
  void start();
  document.documentElement.lang = "en";
  document.title = "LossLens";
  const sheet = document.createElement("style");
  sheet.textContent = styles;
  document.head.append(sheet);
  watchDark((dark) => {
    document.documentElement.classList.toggle("dark", dark);
    state.set({ dark });
  });
  const root = document.createElement("div");
  root.id = "losslens";
  document.body.append(root);
  mount(h(App, null), root);
  watchKeys();
  poll();
}
