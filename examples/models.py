"""The models of the examples in PyTorch, with the state-dict keys of their files."""
import torch, torch.nn as nn, torch.nn.functional as F


class Embeddings(nn.Module):
    def __init__(self, words, positions, width):
        super().__init__()
        self.word_embeddings, self.position_embeddings = nn.Embedding(words, width), nn.Embedding(positions, width)
        self.token_type_embeddings, self.LayerNorm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, words):
        places = self.position_embeddings.weight[:words.shape[1]] + self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(words) + places)


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__(); self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x, mask):
        heads = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(heads(self.query(x)), heads(self.key(x)), heads(self.value(x)), attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)


class Output(nn.Module):
    def __init__(self, inputs, width):
        super().__init__(); self.dense, self.LayerNorm = nn.Linear(inputs, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, y, x): return self.LayerNorm(self.dense(y) + x)


class EncoderLayer(nn.Module):
    def __init__(self, width, inner, heads):
        super().__init__()
        self.attention = nn.ModuleDict({'self': SelfAttention(width, heads), 'output': Output(width, width)})
        self.intermediate = nn.ModuleDict({'dense': nn.Linear(width, inner)})
        self.output = Output(inner, width)

    def forward(self, x, mask):
        x = self.attention['output'](self.attention['self'](x, mask), x)
        return self.output(F.gelu(self.intermediate['dense'](x)), x)


class SentenceEncoder(nn.Module):
    """BERT, the mean of its outputs, normalized. words: (B, T), 0 where a sentence is shorter."""
    def __init__(self, words=30522, positions=512, width=384, inner=1536, heads=12, layers=6):
        super().__init__()
        self.embeddings = Embeddings(words, positions, width)
        self.encoder = nn.ModuleDict({'layer': nn.ModuleList(EncoderLayer(width, inner, heads) for _ in range(layers))})

    def forward(self, words):
        real = words != 0
        x = self.embeddings(words)
        for layer in self.encoder['layer']: x = layer(x, real[:, None, None])
        return F.normalize((x * real[..., None]).sum(1) / real.sum(1, keepdim=True))


class VoiceDetector(nn.Module):
    """Silero's detector. chunks: (B, 576), 64 samples of them from before; the probability that it is speech, and the state."""
    def __init__(self, window=256, width=128, middle=64):
        super().__init__(); bins = window // 2 + 1; self.bins = bins
        self.stft_conv = nn.Conv1d(1, 2 * bins, window, stride=window // 2, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(bins, width, 3, padding=1), nn.Conv1d(width, middle, 3, 2, 1)
        self.conv3, self.conv4 = nn.Conv1d(middle, middle, 3, 2, 1), nn.Conv1d(middle, width, 3, padding=1)
        self.lstm_cell, self.final_conv = nn.LSTMCell(width, width), nn.Conv1d(width, 1, 1)

    def features(self, chunks):
        spectrum = self.stft_conv(F.pad(chunks, (0, self.bins // 2), mode='reflect')[:, None])
        x = (spectrum[:, :self.bins] ** 2 + spectrum[:, self.bins:] ** 2).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4): x = F.relu(conv(x))
        return x.flatten(1)

    def forward(self, chunks, state=None):
        h, c = self.lstm_cell(self.features(chunks), state)
        return torch.sigmoid(self.final_conv(F.relu(h)[..., None])).flatten(), (h, c)


class SpeakerEncoder(nn.Module):
    """Resemblyzer. mels: (B, 160, 40); one normalized vector each."""
    def __init__(self, bands=40, width=256, layers=3):
        super().__init__()
        self.lstm, self.linear = nn.LSTM(bands, width, layers, batch_first=True), nn.Linear(width, width)

    def forward(self, mels): return F.normalize(F.relu(self.linear(self.lstm(mels)[1][0][-1])))
