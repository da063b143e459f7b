"""eSpeak NG: formant speech in more than a hundred languages, hundreds of times faster than real time.

The library comes with the `espeakng-loader` wheel and runs in processes of its own, which import nothing but `frames`
and `library`.
"""
