/** What a person does about a command that is there; the parts of the room hand it up to the one dialog. */
import type { Batch, Command } from '../../api/commands'

export type Act = 'approve' | 'reject' | 'cancel' | 'review' | 'stop'

export interface Wish {
  act: Act
  command: Command | null
  batch: Batch | null
}

export const about = (act: Act, one: { command?: Command; batch?: Batch }): Wish => ({
  act,
  command: one.command ?? null,
  batch: one.batch ?? null,
})
