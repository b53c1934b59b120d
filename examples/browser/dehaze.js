// The network, in a worker: RGBA samples in, RGBA samples of the clear picture out.

const RUNTIME = "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
const GRAPH = "lite.onnx";

// A failure that the reader of the page can mend.
class Missing extends Error {}

// The runtime and the graph, loaded with the first photo.
let ready = null;

async function load() {
  const ort = await import(RUNTIME).catch(() => {
    throw new Missing("onnxruntime-web is not beside this page; run there: npm install onnxruntime-web");
  });
  const answer = await fetch(GRAPH);
  if (!answer.ok) {
    throw new Missing(`${GRAPH} is not beside this page; run there: corun export corun-lite -o ${GRAPH}`);
  }
  const graph = new Uint8Array(await answer.arrayBuffer());
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"],
    enableCpuMemArena: false, // else the largest photo's memory is kept
  });
  return { ort, session };
}

async function cleared(samples) {
  ready ??= load();
  const { ort, session } = await ready.catch((error) => {
    ready = null; // what was missing may be there at the next try
    throw error;
  });
  const { width, height, data } = samples;
  const pixels = width * height;
  const planes = new Float32Array(3 * pixels); // (1,3,H,W), RGB, [0,1]
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) planes[c * pixels + i] = data[4 * i + c] / 255;
  }
  const hazy = new ort.Tensor("float32", planes, [1, 3, height, width]);
  const { scene } = await session.run({ hazy }, ["scene"]);
  for (let i = 0; i < pixels; i++) {
    // The array rounds and keeps within 0 and 255 by itself; alpha stays.
    for (let c = 0; c < 3; c++) data[4 * i + c] = scene.data[c * pixels + i] * 255;
  }
  return samples;
}

let turn = Promise.resolve(); // one photo after the other

onmessage = ({ data: { number, samples, reduced } }) => {
  turn = turn.then(async () => {
    const start = performance.now();
    try {
      const result = await cleared(samples);
      const seconds = (performance.now() - start) / 1000;
      postMessage({ number, samples: result, reduced, seconds }, [result.data.buffer]);
    } catch (error) {
      const problem = error instanceof Missing ? error.message : `The network failed: ${error.message}`;
      postMessage({ number, problem });
    }
  });
};
