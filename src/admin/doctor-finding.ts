/** What a check of `doctor` found. */
export interface Finding {
  check: string
  /** A `note` may be intended. */
  status: 'ok' | 'note' | 'problem'
  message: string
  /** How to fix it. */
  remedy?: string
}

export function ok(check: string, message: string): Finding {
  return { check, status: 'ok', message }
}

export function note(check: string, message: string, remedy: string): Finding {
  return { check, status: 'note', message, remedy }
}

export function problem(check: string, message: string, remedy: string): Finding {
  return { check, status: 'problem', message, remedy }
}
