import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { S3Error } from "./s3-error.ts";
import { childText, parseXml, xmlDocument } from "./s3-xml.ts";

describe("parseXml()", () => {
  it("reads what clients send", () => {
    const root = parseXml(
      '<?xml version="1.0"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a&amp;b&#x9;&#10;&lt;</Key></Object><Quiet>true</Quiet><Empty/></Delete>\n',
    );
    expect(root.name).toBe("Delete");
    expect(childText(root, "Quiet")).toBe("true");
    expect(root.children[0] && childText(root.children[0], "Key")).toBe("a&b\t\n<");
  });

  it("reads back every text that the server writes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (raw) => {
        const text = raw.toWellFormed();
        expect(childText(parseXml(xmlDocument(["R", [["T", `.${text}.`]]])), "T")).toBe(`.${text}.`);
      }),
    );
  });

  it("answers anything else with MalformedXML, and at once", () => {
    for (const text of ["", "x", "<a>", "<a></b>", "</a>", "<a/><b/>", "<a><", "<a b=<>", "<".repeat(50_000), "<a>".repeat(50_000)]) {
      expect(() => parseXml(text)).toThrow(expect.objectContaining({ code: "MalformedXML" }));
    }
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("<", ">", "/", "a", " ", "&", ";", "!", "-", "?") }), (text) => {
        try {
          parseXml(text);
        } catch (error) {
          expect(error).toBeInstanceOf(S3Error);
        }
      }),
    );
  });
});
