// What an index lists and what is stored beside it, from its documents alone: no layer is read.
import type { Digest } from '../../image/digest.js';
import { formatPlatform } from '../../image/platform.js';
import { fateOf, type ReferrerFate, statedIn } from '../../image/referrers.js';
import type { Descriptor, ImageIndex } from '../../image/types.js';
import type { Bytes } from '../../units.js';
import { TOC_DIGEST_ANNOTATION } from '../names.js';

export interface PlatformInspection {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  readonly digest: Digest;
  readonly layers: number;
  /** Layers whose descriptor names a TOC: those that a lazy client tries to mount. */
  readonly lazyLayers: number;
  /** Of all layers as stored; a layer that several platforms have counts for each. */
  readonly size: Bytes;
  /** Why `optimize` would take it along as it is; absent: it would not. */
  readonly because?: string;
}

export interface CompanionInspection {
  readonly digest: Digest;
  /** What it is about, when it says so. */
  readonly subject?: Digest;
  /** "" when nobody knows. */
  readonly artifactType: string;
}

export interface ReferrerInspection extends CompanionInspection {
  /** What becomes of it when its subject is rewritten. */
  readonly fate: ReferrerFate;
}

export interface IndexInspection {
  readonly reference: string;
  /** Of the index; absent when the reference leads to image manifests directly. */
  readonly digest?: Digest;
  readonly mediaType?: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** In the order of the index. */
  readonly platforms: readonly PlatformInspection[];
  readonly attestations: readonly CompanionInspection[];
  readonly artifacts: readonly CompanionInspection[];
  /** Named by the index, but not stored there. */
  readonly absent: readonly { readonly digest: Digest; readonly platform?: string }[];
  /** Stored beside it, about the index or one of its manifests. */
  readonly referrers: readonly ReferrerInspection[];
}

/** @throws as ImageIndex.referrers and readManifest */
export async function inspectIndex(index: ImageIndex): Promise<IndexInspection> {
  const platforms: PlatformInspection[] = [];
  const attestations: CompanionInspection[] = [];
  const artifacts: CompanionInspection[] = [];
  const absent: { digest: Digest; platform?: string }[] = [];
  for (const entry of index.entries) {
    const { digest, platform } = entry.descriptor;
    switch (entry.kind) {
      case 'image':
        platforms.push(describe(formatPlatform(entry.image.platform), digest, entry.image.manifest.layers));
        break;
      case 'kept': {
        const { layers } = JSON.parse(String(await index.readManifest(entry.descriptor))) as { layers: Descriptor[] };
        platforms.push({ ...describe(formatPlatform(entry.platform), digest, layers), because: entry.because });
        break;
      }
      case 'absent':
        absent.push({ digest, ...(platform ? { platform: formatPlatform(platform) } : {}) });
        break;
      case 'attestation':
        attestations.push({
          digest,
          ...(entry.subject === undefined ? {} : { subject: entry.subject }),
          artifactType: (await stated(index, entry.descriptor)).artifactType,
        });
        break;
      default:
        artifacts.push({ digest, ...(await stated(index, entry.descriptor)) });
    }
  }
  const referrers = (await index.referrers()).map((referrer) => ({
    digest: referrer.descriptor.digest,
    subject: referrer.subject,
    artifactType: referrer.artifactType,
    fate: fateOf(referrer),
  }));
  return {
    reference: index.reference,
    ...(index.descriptor ? { digest: index.descriptor.digest, mediaType: index.descriptor.mediaType } : {}),
    annotations: index.document?.annotations ?? {},
    platforms,
    attestations,
    artifacts,
    absent,
    referrers,
  };
}

async function stated(
  index: ImageIndex,
  descriptor: Descriptor,
): Promise<{ readonly subject?: Digest; readonly artifactType: string }> {
  if (!/[+/]json$/.test(descriptor.mediaType)) return { artifactType: descriptor.mediaType };
  return statedIn(await index.readManifest(descriptor), `manifest ${descriptor.digest}`);
}

function describe(platform: string, digest: Digest, layers: readonly Descriptor[]): PlatformInspection {
  return {
    platform,
    digest,
    layers: layers.length,
    lazyLayers: layers.filter((layer) => layer.annotations?.[TOC_DIGEST_ANNOTATION] !== undefined).length,
    size: layers.reduce((sum, layer) => sum + layer.size, 0),
  };
}
