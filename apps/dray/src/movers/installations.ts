/** Which installations of a cluster added a mover: its registration is the cluster's, and goes when it was removed in the last of them. */
import { type DataMover, MOVER_INSTALLATIONS } from "@drayage/api";

/** In place of a namespace: whoever registered it before installations were noted, or by hand. No namespace is called so. */
export const UNKNOWN_INSTALLATION = "*";

/** Their namespaces in byte order, and `UNKNOWN_INSTALLATION` where the registration does not say. */
export function installationsOf({ metadata }: Pick<DataMover, "metadata">): readonly string[] {
  return (metadata.annotations?.[MOVER_INSTALLATIONS] ?? UNKNOWN_INSTALLATION)
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

export function formatInstallations(installations: readonly string[]): string {
  return [...new Set(installations)].sort().join(",");
}

/** For people, with commas between. */
export function describeInstallations(installations: readonly string[]): string {
  return installations.map((name) => (name === UNKNOWN_INSTALLATION ? "an installation that is not noted" : name)).join(", ");
}
