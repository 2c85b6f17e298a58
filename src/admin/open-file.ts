import { type FileHandle, open } from 'node:fs/promises'
import { CommandError } from '../../peer/src/cli/terminal.ts'

/**
 * Opens the file that an argument names.
 *
 * @param flags as of `fs.open`; a new file is readable for its owner alone, for who is registered is nobody else's business
 * @throws CommandError `failed`
 */
export async function openFile(path: string, flags: 'r' | 'wx'): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o600)
  } catch (error) {
    throw new CommandError('failed', (error as Error).message)
  }
}
