// what the theme leaves without a name or out of reach: copy buttons, folded navigation, tables wider than the screen
const reachable = () => {
  document.querySelectorAll("nav.md-code__nav").forEach((nav, index) => nav.setAttribute("aria-label", `Block ${index + 1}`));
  document.querySelectorAll("nav.md-nav[aria-labelledby]").forEach((nav) => {
    nav.removeAttribute("aria-labelledby");
    const title = nav.querySelector(".md-nav__title")?.textContent.trim() || "Pages";
    nav.setAttribute("aria-label", `${title}, level ${nav.dataset.mdLevel}`);
  });
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => table.setAttribute("tabindex", "0"));
};
new MutationObserver(reachable).observe(document.documentElement, { childList: true, subtree: true });
