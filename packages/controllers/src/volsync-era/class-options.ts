/** Options of a storage class, as `volumeOptionsForStorageClasses` gives them: one ConfigMap a class, looked up by the class of the claim that is backed up. */
import { OPTION_KEYS, RETAIN_KEYS, storageClassOptions } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { configMaps, type KubeClient, serviceAccounts } from "@drayage/kube";

export interface ClassOptions {
  readonly storageClassName?: string;
  readonly accessMode?: string;
  readonly cacheStorageClassName?: string;
  readonly cacheAccessMode?: string;
  readonly cacheCapacity?: string;
  readonly moverSecurityContext?: string;
  readonly moverServiceAccount?: string;
  /** How many snapshots are kept, as the keys say it. */
  readonly retain: Readonly<Record<string, string>>;
}

/** OADP had VolSync's movers run as Velero's account, so that they may do what it may. */
const VELERO_ACCOUNT = "velero";

export async function readClassOptions(client: KubeClient, namespace: string, storageClass: string, side: "Source" | "Destination"): Promise<ClassOptions> {
  const data = storageClass === "" ? undefined : (await client.find(configMaps, { namespace, name: storageClassOptions(storageClass) }))?.data;
  const given = Object.entries(OPTION_KEYS).flatMap(([field, key]) => {
    const value = data?.[`${side}${key}`] ?? "";
    return value === "" ? [] : [[field, value]];
  });
  const retain = Object.fromEntries(
    Object.values(RETAIN_KEYS).flatMap((key) => {
      const value = data?.[key] ?? "";
      return value === "" ? [] : [[key, value]];
    }),
  );
  return { ...Object.fromEntries(given), retain };
}

/** VolSync's `retain`, from the keys of a location's Secret and, before them, of the class. Zero keeps none and is left out. Throws VALIDATION_FAILED for what is no number. */
export function retainOf(texts: Readonly<Record<string, string>>): Record<string, number | string> | undefined {
  const retain: Record<string, number | string> = {};
  for (const [field, key] of Object.entries(RETAIN_KEYS)) {
    const text = (texts[key] ?? "").trim();
    if (text === "") continue;
    if (field === "within") retain[field] = text;
    else if (wholeNumber(key, text) > 0) retain[field] = wholeNumber(key, text);
  }
  return Object.keys(retain).length === 0 ? undefined : retain;
}

/** Throws VALIDATION_FAILED. */
export function wholeNumber(key: string, text: string): number {
  // VolSync's fields are of 32 bits.
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new DrayError("VALIDATION_FAILED", `Cannot read "${key}" of the data mover's settings: it is "${text}", a whole number is wanted`);
}

/** The account of a mover; undefined leaves VolSync to make one. */
export async function moverAccount(client: KubeClient, namespace: string, { moverServiceAccount }: ClassOptions): Promise<string | undefined> {
  if (moverServiceAccount !== undefined) return moverServiceAccount;
  return (await client.find(serviceAccounts, { namespace, name: VELERO_ACCOUNT })) === undefined ? undefined : VELERO_ACCOUNT;
}

/** The options of a cache volume, as both kinds take them. */
export function cacheOptions({ cacheStorageClassName, cacheAccessMode, cacheCapacity }: ClassOptions): {
  cacheStorageClassName?: string;
  cacheAccessModes?: string[];
  cacheCapacity?: string;
} {
  return {
    ...(cacheStorageClassName === undefined ? {} : { cacheStorageClassName }),
    ...(cacheAccessMode === undefined ? {} : { cacheAccessModes: [cacheAccessMode] }),
    ...(cacheCapacity === undefined ? {} : { cacheCapacity }),
  };
}
