import { testDay } from './day.ts'

// Go and Rust are in npm run test:clients: they take longer to install and to build.
testDay('Python')
