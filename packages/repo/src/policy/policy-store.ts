/** Policies as manifests of a repository. Changes are durable after the repository is flushed. */
import { DrayError } from "@drayage/base";
import type { ManifestStore } from "../manifest/manifest-store.ts";
import type { SnapshotSource } from "../snapshot/snapshot-source.ts";
import { type DefinedPolicy, EffectivePolicy, mergePolicies } from "./effective-policy.ts";
import { decodePolicy, encodePolicy, inKopiasOrder, type PolicyDocument } from "./policy-document.ts";
import { formatPolicyTarget, POLICY_TYPE, type PolicyTarget, policyLabels, targetOfLabels, targetsAbove } from "./policy-target.ts";
import { PolicyTree } from "./policy-tree.ts";

export interface StoredPolicy extends DefinedPolicy {
  /** Of the manifest. */
  readonly id: string;
}

export class PolicyStore {
  readonly #manifests: ManifestStore;

  constructor(manifests: ManifestStore) {
    this.#manifests = manifests;
  }

  /** The policy of exactly this target, or undefined. Throws REPO_CORRUPT. */
  async get(target: PolicyTarget, signal?: AbortSignal): Promise<StoredPolicy | undefined> {
    // Two at once can come of two clients that set it at the same time: the later one holds.
    const found = (await this.#manifests.find(policyLabels(target), signal)).at(-1);
    return found === undefined ? undefined : await this.#load(found.id, target, signal);
  }

  /** What holds for a target, merged from its own policy and all above it. */
  async effective(target: PolicyTarget, signal?: AbortSignal): Promise<EffectivePolicy> {
    const policies: DefinedPolicy[] = [];
    for (const above of targetsAbove(target)) {
      const policy = await this.get(above, signal);
      if (policy !== undefined) policies.push(policy);
    }
    return mergePolicies(policies);
  }

  /** The policies along the tree of a source. */
  async tree(source: SnapshotSource, signal?: AbortSignal): Promise<PolicyTree> {
    const below = new Map<string, EffectivePolicy>();
    const root = source.path.replace(/\/$/, "");
    for (const { id, labels } of await this.#manifests.find(
      { type: POLICY_TYPE, policyType: "path", username: source.userName, hostname: source.host },
      signal,
    )) {
      const target = targetOfLabels(labels);
      if (!target.path.startsWith(`${root}/`)) continue;
      below.set(target.path.slice(root.length + 1), new EffectivePolicy((await this.#load(id, target, signal)).document));
    }
    return PolicyTree.build(await this.effective(source, signal), below);
  }

  /** Every policy, by target. Throws REPO_CORRUPT. */
  async list(signal?: AbortSignal): Promise<StoredPolicy[]> {
    const policies: StoredPolicy[] = [];
    for (const { id, labels } of await this.#manifests.find({ type: POLICY_TYPE }, signal)) policies.push(await this.#load(id, targetOfLabels(labels), signal));
    const subject = ({ target }: StoredPolicy): string => formatPolicyTarget(target);
    return policies.sort((a, b) => (subject(a) < subject(b) ? -1 : subject(a) > subject(b) ? 1 : 0));
  }

  /** Stores a policy in place of the one that is there; returns its id. */
  async set(target: PolicyTarget, document: PolicyDocument, signal?: AbortSignal): Promise<string> {
    const data = encodePolicy(inKopiasOrder(document));
    decodePolicy(data, `policy of ${formatPolicyTarget(target)}`);
    return await this.#manifests.replace(policyLabels(target), data, signal);
  }

  /** Throws USAGE when there is none. */
  async remove(target: PolicyTarget, signal?: AbortSignal): Promise<void> {
    const found = await this.#manifests.find(policyLabels(target), signal);
    if (found.length === 0) throw new DrayError("USAGE", `Cannot remove the policy of ${formatPolicyTarget(target)}: there is none`);
    for (const { id } of found) await this.#manifests.delete(id, signal);
  }

  async #load(id: string, target: PolicyTarget, signal: AbortSignal | undefined): Promise<StoredPolicy> {
    const { data } = await this.#manifests.get(id, signal);
    return { id, target, document: decodePolicy(data, `policy of ${formatPolicyTarget(target)} (manifest "${id}")`) };
  }
}
