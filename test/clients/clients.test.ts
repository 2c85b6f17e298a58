import { testDay } from './day.ts'

// Go and Rust, which take longer to install and build, are in npm run test:clients.
testDay('Python')
