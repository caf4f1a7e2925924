import { testStage } from './stage.ts'

testStage('drill')
