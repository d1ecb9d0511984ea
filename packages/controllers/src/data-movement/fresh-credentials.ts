/**
 * Credentials that change while data moves. A mover reads its own copy, in a Secret that only its pod has mounted (DESIGN 8.4); when those of its location are changed, the copies of what
 * moves on this node are brought up to date, the kubelet brings them into the pods, and the movers go on with them when the store refuses the old ones.
 */
import { createHash } from "node:crypto";
import { backupStorageLocations, MOVER_SECRET_KEYS } from "@drayage/api";
import { errorFields, type Logger, parseTime } from "@drayage/base";
import { isOwnedBy, type KubeClient, secrets } from "@drayage/kube";
import { readLocationSecrets } from "../exposers/mover-secret.ts";
import type { DataMovementCaches } from "./caches.ts";
import type { AnyMovement } from "./movement.ts";

const YOUNG_MS = 60_000;

/** What is known of a location: the credentials last seen, and the movements (UIDs) whose copies have them. */
interface Seen {
  readonly credentials: string;
  readonly upToDate: ReadonlySet<string>;
}

export interface FreshCredentialsDeps {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly namespace: string;
  readonly nodeName: string;
  readonly nowMs: () => number;
  readonly caches: Pick<DataMovementCaches, "uploads" | "downloads" | "volumeBackups" | "volumeRestores">;
}

/**
 * Returns the look that is to be taken now and then. While nothing moves on this node it asks for nothing; else for each location and its Secret, and for each copy once and whenever
 * the credentials have changed. What fails is told, and looked at again the next time.
 */
export function freshCredentials(deps: FreshCredentialsDeps): () => Promise<void> {
  const seen = new Map<string, Seen>();
  return async () => {
    const byLocation = Map.groupBy(movingHere(deps), ({ spec }) => spec.backupStorageLocation);
    for (const name of [...seen.keys()]) if (!byLocation.has(name)) seen.delete(name);
    for (const [name, movements] of byLocation) {
      try {
        seen.set(name, await lookAt(deps, name, movements, seen.get(name)));
      } catch (error) {
        deps.logger.warn("Cannot look whether the credentials of a location have changed", { location: name, ...errorFields(error) });
      }
    }
  };
}

function movingHere({ caches, nodeName, nowMs }: FreshCredentialsDeps): AnyMovement[] {
  // A copy that was made a moment ago has what its location had then; the next look is in time for it.
  const isYoung = ({ status }: AnyMovement): boolean => nowMs() - (parseTime(status?.acceptedTimestamp) ?? 0) < YOUNG_MS;
  return [caches.uploads, caches.downloads, caches.volumeBackups, caches.volumeRestores]
    .flatMap((informer) => informer.list() as readonly AnyMovement[])
    .filter((movement) => movement.status?.phase === "InProgress" && nodeOf(movement) === nodeName && !isYoung(movement));
}

function nodeOf({ spec, status }: AnyMovement): string | undefined {
  return "node" in spec ? spec.node : (status as { readonly node?: string } | undefined)?.node;
}

async function lookAt(
  { client, logger, namespace }: FreshCredentialsDeps,
  name: string,
  movements: readonly AnyMovement[],
  before: Seen | undefined,
): Promise<Seen> {
  const location = await client.find(backupStorageLocations, { namespace, name });
  if (location === undefined) return { credentials: "", upToDate: new Set() };
  const { credentialsText, caCertPem } = await readLocationSecrets(client, namespace, location);
  const wanted = { [MOVER_SECRET_KEYS.credentials]: encoded(credentialsText), [MOVER_SECRET_KEYS.caCert]: encoded(caCertPem) };
  const credentials = createHash("sha256").update(JSON.stringify(wanted)).digest("hex");
  const upToDate = new Set<string>();
  for (const movement of movements) {
    const { uid = "", name: own = "" } = movement.metadata;
    if (before?.credentials !== credentials || !before.upToDate.has(uid)) {
      const secret = await client.find(secrets, { namespace, name: own });
      // One of another shape is that of a registered mover, which has no credentials of the location.
      const isOurs = secret !== undefined && isOwnedBy(secret, movement) && secret.data?.[MOVER_SECRET_KEYS.repositoryJson] !== undefined;
      if (isOurs && Object.entries(wanted).some(([key, value]) => secret.data?.[key] !== value)) {
        const data = Object.fromEntries(Object.entries({ ...secret.data, ...wanted }).filter((entry): entry is [string, string] => entry[1] !== undefined));
        await client.replace(secrets, { ...secret, data });
        logger.info("Gave a mover the changed credentials of its location", { name: own, location: name });
      }
    }
    upToDate.add(uid);
  }
  return { credentials, upToDate };
}

function encoded(text: string | undefined): string | undefined {
  return text === undefined ? undefined : Buffer.from(text, "utf8").toString("base64");
}
