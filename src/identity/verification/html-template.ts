const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** A text that needs no escaping. */
export class Html extends String {}

/** A template that escapes its values, except those that are HTML. */
export function html(parts: TemplateStringsArray, ...values: (string | Html)[]): Html {
  return new Html(
    String.raw({ raw: parts }, ...values.map((value) => (value instanceof Html ? value : escaped(value))))
  )
}

function escaped(text: string) {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] as string)
}
