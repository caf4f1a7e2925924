import { testStage } from './stage.ts'

testStage('prune')
