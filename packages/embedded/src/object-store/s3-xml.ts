/** The little XML that S3 speaks: elements and text; no attributes, namespaces, comments or entities beyond the five. */
import { S3Error } from "./s3-error.ts";

export type XmlNode = readonly [name: string, content: string | number | boolean | readonly XmlNode[]];

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

/** A whole document. Undefined entries of a list of children are left out by `xmlNodes`. */
export function xmlDocument(root: XmlNode): string {
  const [name, content] = root;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="${NAMESPACE}">${render(content)}</${name}>`;
}

/** Children without those that are undefined. */
export function xmlNodes(...nodes: readonly (XmlNode | undefined)[]): readonly XmlNode[] {
  return nodes.filter((node) => node !== undefined);
}

function render(content: XmlNode[1]): string {
  if (typeof content !== "object") return escapeXml(String(content));
  return content.map(([name, inner]) => `<${name}>${render(inner)}</${name}>`).join("");
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"'\p{Cc}\ufffe\uffff]/gu, (char) => ENTITIES[char] ?? `&#x${(char.codePointAt(0) ?? 0).toString(16)};`);
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };

export interface XmlElement {
  readonly name: string;
  readonly text: string;
  readonly children: readonly XmlElement[];
}

const TOKEN = /<\?[^>]*\?>|<!--[\s\S]*?-->|<(\/?)([A-Za-z_][\w.:-]*)((?:\s[^<>]*?)?)(\/?)>|([^<]+)/gy;
const DEPTH_MAX = 16;

/** The root element of a request's body. Throws MalformedXML. */
export function parseXml(text: string): XmlElement {
  type Open = { name: string; text: string; children: XmlElement[] };
  const refuse = (): never => {
    throw new S3Error("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
  };
  const root: Open = { name: "", text: "", children: [] };
  const stack: Open[] = [root];
  TOKEN.lastIndex = 0;
  const source = text.trim();
  for (let at = 0; at < source.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(source);
    if (match === null) return refuse();
    const [, closing, name, , empty, chars] = match;
    const top = stack.at(-1) ?? refuse();
    if (chars !== undefined) {
      top.text += unescapeXml(chars);
    } else if (name !== undefined && closing === "/") {
      if (stack.length < 2 || top.name !== name) return refuse();
      stack.pop();
    } else if (name !== undefined) {
      const element: Open = { name, text: "", children: [] };
      top.children.push(element);
      if (empty !== "/") stack.push(element);
      if (stack.length > DEPTH_MAX) return refuse();
    }
  }
  const [document] = root.children;
  return stack.length === 1 && document !== undefined && root.children.length === 1 && root.text.trim() === "" ? document : refuse();
}

export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}

function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));/g, (_all, decimal?: string, hex?: string, named?: string) => {
    if (named !== undefined) return { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }[named] ?? "";
    const code = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : "";
  });
}
