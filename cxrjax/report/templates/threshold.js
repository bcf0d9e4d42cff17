"use strict";
/* Metrics of all decisions at the threshold of the slider, mean over the runs as in the tables.
   #operating holds, for each set of images and each run, positives, negatives, and the true and false positives at
   every threshold 0, 1/steps, ..., 1; an image is called positive if its score lies above the threshold. */
(() => {
  const data = JSON.parse(document.getElementById("operating").textContent);
  const slider = document.getElementById("threshold");
  const field = document.getElementById("prevalence");
  const shown = document.getElementById("threshold-value");
  const summary = document.getElementById("summary");
  const problem = document.getElementById("prevalence-problem");

  /* Ties go to the even digit, as Python's formatting has it; toFixed alone rounds them up. */
  function fixed(computed, digits) {
    const value = Number(computed.toFixed(digits + 4)); // digits that are the same however it was computed
    if (!/^50*$/.test(value.toFixed(digits + 40).slice(-40))) return value.toFixed(digits);
    const down = (Math.floor(value * 10 ** digits) / 10 ** digits).toFixed(digits);
    return Number(down.slice(-1)) % 2 ? value.toFixed(digits) : down;
  }
  const written = (value, digits) => Number.isNaN(value) ? data.dash : fixed(value, digits).replace(".", data.decimal);
  const percent = (share) => written(100 * share, 1);
  const filled = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);

  /* Of one run; 0/0 is NaN: undefined. */
  function metrics(tp, fp, positives, negatives, prevalence) {
    const fn = positives - tp, tn = negatives - fp, all = positives + negatives;
    const hit = prevalence * tp / positives, alarm = (1 - prevalence) * fp / negatives;
    const miss = prevalence * fn / positives, quiet = (1 - prevalence) * tn / negatives;
    return {
      accuracy: (tp + tn) / all, fp_share: fp / all, fn_share: fn / all,
      sensitivity: tp / positives, specificity: tn / negatives, ppv: tp / (tp + fp), npv: tn / (tn + fn),
      ppv_at_prevalence: hit / (hit + alarm), npv_at_prevalence: quiet / (quiet + miss),
    };
  }

  /* A metric that this page cannot compute at another threshold leaves the table. */
  const computed = metrics(1, 1, 1, 1, 0.5);
  const cells = [...document.querySelectorAll("td[data-metric]")].filter((cell) => {
    if (!(cell.dataset.metric in computed)) cell.parentElement.remove();
    return cell.dataset.metric in computed;
  });

  /* Mean over the runs in which a metric is defined, and their number. */
  function means(set, step, prevalence) {
    const runs = set.positives.map((positives, i) =>
      metrics(set.true_pos[i][step], set.false_pos[i][step], positives, set.negatives[i], prevalence));
    return (name) => {
      const values = runs.map((run) => run[name]).filter((value) => !Number.isNaN(value));
      return { mean: values.reduce((sum, value) => sum + value, 0) / values.length, n: values.length, all: runs.length };
    };
  }

  /* The field's prevalence as a share, NaN if it is none. */
  function prevalence() {
    const value = field.value.trim() === "" ? NaN : Number(field.value);
    return value >= 0 && value <= 100 ? value / 100 : NaN;
  }

  function natural(mean, share) {
    const sensitivity = mean("sensitivity").mean, specificity = mean("specificity").mean;
    if ([share, sensitivity, specificity].some(Number.isNaN)) return "";
    const positives = Math.round(1000 * share), negatives = 1000 - positives;
    const found = Math.round(positives * sensitivity), alarms = Math.round(negatives * (1 - specificity));
    return filled(data.texts.natural, { positives, negatives, found, missed: positives - found, alarms, positive: data.positive });
  }

  function update() {
    const step = Math.round(slider.value * data.steps), share = prevalence();
    const threshold = written(step / data.steps, 3);
    const of = Object.fromEntries(Object.entries(data.sets).map(([name, set]) => [name, means(set, step, share)]));
    for (const cell of cells) {
      const { mean, n, all } = of[cell.dataset.set](cell.dataset.metric);
      cell.textContent = percent(mean) + (n && n < all ? " " + filled(data.texts.some, { n, all }) : "");
    }
    const inside = of.internal;
    shown.textContent = threshold;
    slider.setAttribute("aria-valuetext", threshold);
    problem.textContent = Number.isNaN(share) ? data.texts.wrong : "";
    field.setAttribute("aria-invalid", String(Number.isNaN(share)));
    summary.textContent = filled(data.texts.summary, {
      threshold, sensitivity: percent(inside("sensitivity").mean) + " %", specificity: percent(inside("specificity").mean) + " %",
    }) + " " + natural(inside, share);
  }

  for (const button of document.querySelectorAll("button[data-threshold]")) {
    button.addEventListener("click", () => { slider.value = button.dataset.threshold; update(); });
  }
  slider.addEventListener("input", update);
  field.addEventListener("input", update);
  document.getElementById("explorer").hidden = false;
  update();
})();
