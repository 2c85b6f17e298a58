const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** A template whose values are text: what is HTML in them is shown, not obeyed. Values of `html` itself stay as they are. */
export function html(parts: TemplateStringsArray, ...values: (string | Html)[]): Html {
  return new Html(
    String.raw({ raw: parts }, ...values.map((value) => (value instanceof Html ? value.toString() : escaped(value))))
  )
}

export class Html {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  toString() {
    return this.#text
  }
}

function escaped(text: string) {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] as string)
}
