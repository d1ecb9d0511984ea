/**
 * Policies along a tree: that of its root, merged from everything above, and those that are defined for directories in it. As in Kopia a directory's own policy replaces that of
 * the directory above and is not merged with it; ignore rules from above hold all the same, since scopes nest.
 */
import type { EffectivePolicy } from "./effective-policy.ts";

export class PolicyTree {
  /** The policy of this very directory, undefined where it only inherits. */
  readonly defined: EffectivePolicy | undefined;
  readonly effective: EffectivePolicy;
  readonly #children: ReadonlyMap<string, PolicyTree>;
  /** This node without what was defined for it: every descendant for which nothing is. */
  readonly #inheriting: PolicyTree;

  private constructor(defined: EffectivePolicy | undefined, effective: EffectivePolicy, children: ReadonlyMap<string, PolicyTree>) {
    this.defined = defined;
    this.effective = effective;
    this.#children = children;
    this.#inheriting = defined === undefined && children.size === 0 ? this : new PolicyTree(undefined, effective, new Map());
  }

  /** @param below - policies of directories below the root, by path without a slash in front */
  static build(root: EffectivePolicy, below: ReadonlyMap<string, EffectivePolicy> = new Map()): PolicyTree {
    return node("", root, root, below);
  }

  static node(defined: EffectivePolicy | undefined, effective: EffectivePolicy, children: ReadonlyMap<string, PolicyTree>): PolicyTree {
    return new PolicyTree(defined, effective, children);
  }

  /** Whether every entry of this directory, and everything below, has the policy of this one. */
  get holdsForAll(): boolean {
    return this.#children.size === 0;
  }

  /** @param name - as text */
  child(name: string): PolicyTree {
    return this.#children.get(name) ?? this.#inheriting;
  }
}

function node(path: string, defined: EffectivePolicy | undefined, above: EffectivePolicy, below: ReadonlyMap<string, EffectivePolicy>): PolicyTree {
  const effective = defined ?? above;
  const prefix = path === "" ? "" : `${path}/`;
  const names = new Set([...below.keys()].filter((key) => key.startsWith(prefix) && key !== path).map((key) => key.slice(prefix.length).split("/")[0] ?? ""));
  const children = new Map([...names].map((name) => [name, node(prefix + name, below.get(prefix + name), effective, below)]));
  return PolicyTree.node(defined, effective, children);
}
