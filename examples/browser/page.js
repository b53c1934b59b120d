// The page: reads the chosen photo, has it cleared beside the page's own thread, shows both.

const MOST_PIXELS = 4_000_000; // of a larger photo the browser might not have the memory for

const byId = (id) => document.getElementById(id);
const [view, hazy, clear, share, save, status] =
  ["view", "hazy", "clear", "share", "save", "status"].map(byId);
const worker = new Worker("dehaze.js", { type: "module" });
let asked = 0; // of several photos in a row only the last is shown
let name = "";

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

// RGBA samples of a photo, upright, sRGB-encoded; reduced where it is too large.
async function samplesOf(file) {
  const photo = await createImageBitmap(file); // turned as its EXIF says
  const factor = Math.min(1, Math.sqrt(MOST_PIXELS / (photo.width * photo.height)));
  hazy.width = clear.width = Math.max(1, Math.round(photo.width * factor));
  hazy.height = clear.height = Math.max(1, Math.round(photo.height * factor));
  const context = hazy.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, hazy.width, hazy.height);
  photo.close();
  return { samples: context.getImageData(0, 0, hazy.width, hazy.height), reduced: factor < 1 };
}

async function take(file) {
  if (!file) return;
  const number = ++asked;
  view.hidden = save.hidden = true;
  say(`Reading ${file.name} …`);
  try {
    const { samples, reduced } = await samplesOf(file);
    if (number !== asked) return;
    name = file.name.replace(/\.[^.]*$/, "");
    say(`Clearing ${file.name} …`);
    worker.postMessage({ number, samples, reduced }, [samples.data.buffer]);
  } catch {
    if (number === asked) say(`${file.name}: not a photo that this browser can read.`, true);
  }
}

worker.onmessage = ({ data: { number, samples, reduced, seconds, problem } }) => {
  if (number !== asked) return;
  if (problem) return say(problem, true);
  clear.getContext("2d").putImageData(samples, 0, 0);
  view.hidden = false;
  const size = `${samples.width} × ${samples.height} pixels`;
  say(`Cleared in ${seconds.toFixed(1)} s, ${size}${reduced ? ", reduced for the browser" : ""}.`);
  clear.toBlob((blob) => {
    if (number !== asked) return;
    URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(blob);
    save.download = `${name}.dehazed.png`;
    save.hidden = false;
  });
};
worker.onerror = () => say("dehaze.js did not start; is this browser older than 2023?", true);

byId("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // so that the same photo can be chosen again
});
share.addEventListener("input", () => view.style.setProperty("--share", `${share.value}%`));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
