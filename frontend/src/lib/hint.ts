// How to start: the server's hint is a sentence and, on lines of their own, the code that follows from it.

export const TWO_LINES = `from tb_losslens import LossLensWriter

writer = LossLensWriter("runs/exp1")       # instead of SummaryWriter
train_loader = writer.wrap(train_loader)   # the loop stays as it is`;

/** The hint cut at its first line; a hint of one line gets the code that the page knows. */
export function readHint(hint: string): { sentence: string; code: string } {
  const [sentence = "", ...lines] = hint.split("\n");
  const code = lines.join("\n").trim();
  return { sentence, code: code === "" ? TWO_LINES : code };
}
