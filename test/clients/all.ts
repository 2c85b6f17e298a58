import { testDay } from './day.ts'

testDay('Python', 'Go', 'Rust')
