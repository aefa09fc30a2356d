// A plan belongs to one image: its paths are names in particular layers.
import { PLAN_SCHEMA, type Plan } from '../analyze/types.js';
import { HotlayerError } from '../errors.js';
import type { Image } from '../image/types.js';

/** @throws HL_ERR_DATA when the plan was made for another image */
export function checkPlanFits(plan: Plan, image: Image): void {
  const hint = 'make the plan anew from a profile of this image';
  if (plan.layers.length !== image.layers.length) {
    throw new HotlayerError(
      'HL_ERR_DATA',
      `the plan has ${plan.layers.length} layers, ${image.reference} has ${image.layers.length}`,
      { hint, context: { image: image.reference } },
    );
  }
  plan.layers.forEach((layer, i) => {
    const { digest } = image.layers[i]!.descriptor;
    if (layer.index === i && layer.digest === digest) return;
    throw new HotlayerError(
      'HL_ERR_DATA',
      `layer ${i} of the plan is number ${layer.index}, ${layer.digest}; expected ${digest} of ${image.reference}`,
      { hint, context: { image: image.reference, layer: digest } },
    );
  });
}

/** A plan with nothing hot: plain eStargz, no prefetch. */
export function planWithout(image: Image, options: { readonly chunkSize: number; readonly tool: string }): Plan {
  return {
    schemaVersion: PLAN_SCHEMA,
    tool: options.tool,
    image: { reference: image.reference, digest: image.descriptor.digest },
    complete: true,
    chunkSize: options.chunkSize,
    layers: image.layers.map((layer) => ({
      index: layer.index,
      digest: layer.descriptor.digest,
      diffId: layer.diffId,
      hot: [],
      hotBytes: 0,
      landmark: 'no-prefetch',
    })),
    missed: [],
  };
}
