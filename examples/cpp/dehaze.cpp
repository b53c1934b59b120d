// Clear a photo with ONNX Runtime alone, in C++.
//
//     corun export corun-lite -o lite.onnx
//     cmake -S examples/cpp -B build -DCMAKE_BUILD_TYPE=Release -DONNXRUNTIME_ROOT=/where/it/lies
//     cmake --build build
//     build/dehaze lite.onnx hazy.ppm clear.ppm
//
// Reads and writes binary PPM (P6) of 8 bits, RGB, sRGB-encoded; the graph takes pictures of any size.

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Picture {
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::vector<unsigned char> samples;  // height x width x 3, RGB
};

// A number of the header; whitespace and comments may stand before it.
std::int64_t header_number(std::istream& file) {
    while (std::isspace(file.peek()) || file.peek() == '#') {
        if (file.get() == '#') {
            file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
        }
    }
    std::int64_t number = 0;
    if (!(file >> number)) {
        throw std::runtime_error("not a binary PPM picture: its header is damaged");
    }
    return number;
}

Picture read_ppm(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error("cannot be opened");
    }
    if (file.get() != 'P' || file.get() != '6') {
        throw std::runtime_error("not a binary PPM picture (P6)");
    }
    Picture picture;
    picture.width = header_number(file);
    picture.height = header_number(file);
    const std::int64_t most = header_number(file);
    constexpr std::int64_t longest = 1 << 16;
    if (picture.width < 1 || picture.height < 1 || picture.width > longest ||
        picture.height > longest) {
        throw std::runtime_error("its sides are not between 1 and 65536 pixels");
    }
    if (most != 255) {
        throw std::runtime_error("it does not have 8 bits a sample; convert it");
    }
    file.get();  // the one whitespace before the samples
    // A header that promises more than there is must not cost the memory for it.
    const auto start = file.tellg();
    file.seekg(0, std::ios::end);
    const std::int64_t size = 3 * picture.width * picture.height;
    if (file.tellg() - start < size) {
        throw std::runtime_error("it ends before its last row");
    }
    file.seekg(start);
    picture.samples.resize(static_cast<std::size_t>(size));
    file.read(reinterpret_cast<char*>(picture.samples.data()), size);
    if (!file) {
        throw std::runtime_error("it cannot be read to its end");
    }
    return picture;
}

// Written beside the target first: what goes wrong leaves no half of a picture under its name.
void write_ppm(const std::filesystem::path& path, const Picture& picture) {
    std::filesystem::path partial = path;
    partial += ".partial";
    std::ofstream file(partial, std::ios::binary);
    file << "P6\n" << picture.width << ' ' << picture.height << "\n255\n";
    file.write(reinterpret_cast<const char*>(picture.samples.data()),
               static_cast<std::streamsize>(picture.samples.size()));
    file.close();
    if (!file) {
        std::filesystem::remove(partial);
        throw std::runtime_error("cannot be written");
    }
    std::filesystem::rename(partial, path);
}

// (H,W,3) in 0..255 to (1,3,H,W) in [0,1].
std::vector<float> planes_of(const Picture& picture) {
    const std::size_t pixels = picture.samples.size() / 3;
    std::vector<float> planes(picture.samples.size());
    for (std::size_t i = 0; i < pixels; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            planes[c * pixels + i] = static_cast<float>(picture.samples[3 * i + c]) / 255.0F;
        }
    }
    return planes;
}

// And back; the scene is within [0,1].
void set_samples(Picture& picture, const float* planes) {
    const std::size_t pixels = picture.samples.size() / 3;
    for (std::size_t i = 0; i < pixels; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            const float value = std::nearbyint(planes[c * pixels + i] * 255.0F);
            picture.samples[3 * i + c] = static_cast<unsigned char>(value);
        }
    }
}

void dehaze(Ort::Session& session, Picture& picture) {
    std::vector<float> hazy = planes_of(picture);
    const std::array<std::int64_t, 4> shape{1, 3, picture.height, picture.width};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto input = Ort::Value::CreateTensor<float>(memory, hazy.data(), hazy.size(),
                                                       shape.data(), shape.size());
    const std::array<const char*, 1> inputs{"hazy"};
    const std::array<const char*, 3> outputs{"scene", "transmission", "airlight"};
    const auto results = session.Run(Ort::RunOptions{nullptr}, inputs.data(), &input, 1,
                                     outputs.data(), outputs.size());
    set_samples(picture, results[0].GetTensorData<float>());
    const float* airlight = results[2].GetTensorData<float>();
    std::cout << "airlight " << airlight[0] << ", " << airlight[1] << ", " << airlight[2] << '\n';
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) {
        std::cerr << "usage: dehaze GRAPH.onnx HAZY.ppm CLEAR.ppm\n";
        return 2;
    }
    const std::filesystem::path graph(arguments[1]), source(arguments[2]), target(arguments[3]);
    std::filesystem::path at = source;  // what is worked on, for messages
    try {
        Picture picture = read_ppm(source);
        at = graph;
        const Ort::Env environment(ORT_LOGGING_LEVEL_FATAL, "dehaze");
        Ort::Session session(environment, graph.c_str(), Ort::SessionOptions{});
        dehaze(session, picture);
        at = target;
        write_ppm(target, picture);
    } catch (const std::exception& error) {  // Ort::Exception is one
        std::cerr << at.string() << ": " << error.what() << '\n';
        return 1;
    }
    return 0;
}
