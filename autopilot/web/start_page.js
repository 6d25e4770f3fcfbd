"use strict";
// Adds a button to each example that copies it.
for (const example of document.querySelectorAll("section")) {
  const code = example.querySelector("pre");
  const button = document.createElement("button");
  const title = example.querySelector("h2").textContent;
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy the lines for ${title}`);

  // Browsers offer the clipboard to pages with TLS and of localhost; the older way needs a selection.
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    }
  };

  button.addEventListener("click", async () => {
    button.textContent = (await copy()) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  code.before(button);
}
